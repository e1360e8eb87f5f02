package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"
)

// Member is who has a partition at present, as the group tells.
type Member struct {
	// ID is the member's name in the group, and Host where it connects from.
	ID   string
	Host string
}

// Members tells which member each partition is assigned to. A partition that nobody has is missing, and all are while the
// group is between two assignments. isEmpty tells that the group has no members at all.
func (o *Offsets) Members(ctx context.Context) (byPartition map[int32]Member, isEmpty bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	// The admin is not closed: that would close the client.
	admin, err := sarama.NewClusterAdminFromClient(o.client)
	if err != nil {
		return nil, false, fmt.Errorf("ask for the members of group %s: %w", o.group, err)
	}
	groups, err := admin.DescribeConsumerGroups([]string{o.group})
	if err == nil && len(groups) != 1 {
		err = sarama.ErrIncompleteResponse
	}
	if err == nil && !errors.Is(groups[0].Err, sarama.ErrNoError) && !errors.Is(groups[0].Err, sarama.ErrGroupIDNotFound) {
		err = groups[0].Err
	}
	if err != nil {
		return nil, false, fmt.Errorf("ask for the members of group %s: %w", o.group, err)
	}
	byPartition = map[int32]Member{}
	for id, member := range groups[0].Members {
		assignment, err := member.GetMemberAssignment()
		if err != nil || assignment == nil {
			continue // it has joined and was given nothing yet
		}
		for _, partition := range assignment.Topics[o.topic] {
			byPartition[partition] = Member{ID: id, Host: member.ClientHost}
		}
	}
	return byPartition, len(groups[0].Members) == 0, nil
}

// CommitByHand stores an offset and metadata for a partition of a group that has no members; a group that has some
// refuses it (IsFenced).
func (o *Offsets) CommitByHand(ctx context.Context, partition int32, offset int64, metadata string) error {
	return o.Commit(ctx, Owner{Generation: -1}, partition, offset, metadata)
}

// Leave takes a member out of the group, in its stead: a member that its coordinator has left without answers cannot tell
// the next one. Until then the group waits for it, as long as the session timeout, before others get its partitions.
// Twice is harmless.
func (o *Offsets) Leave(ctx context.Context, owner Owner) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := o.client.RefreshCoordinator(o.group); err != nil {
		return fmt.Errorf("find the coordinator of group %s: %w", o.group, err)
	}
	coordinator, err := o.client.Coordinator(o.group)
	if err != nil {
		return fmt.Errorf("find the coordinator of group %s: %w", o.group, err)
	}
	answer, err := coordinator.LeaveGroup(&sarama.LeaveGroupRequest{
		Version: 4, GroupId: o.group, Members: []sarama.MemberIdentity{{MemberId: owner.Member}},
	})
	if err != nil {
		_ = coordinator.Close()
		return fmt.Errorf("leave group %s: %w", o.group, err)
	}
	for _, code := range append([]sarama.KError{answer.Err}, memberErrors(answer)...) {
		if !errors.Is(code, sarama.ErrNoError) && !errors.Is(code, sarama.ErrUnknownMemberId) {
			return fmt.Errorf("leave group %s: %w", o.group, code)
		}
	}
	return nil
}

func memberErrors(answer *sarama.LeaveGroupResponse) (codes []sarama.KError) {
	for _, member := range answer.Members {
		codes = append(codes, member.Err)
	}
	return codes
}
