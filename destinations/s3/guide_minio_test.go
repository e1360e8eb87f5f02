//go:build world && minio

package s3

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/millrace/millrace/destinations"
)

// restricted has credentials of a bucket that may do what the policy allows, and nothing else.
func (b bucket) restricted(t *testing.T, policy string) bucket {
	t.Helper()
	options := b.client.Options()
	roles := sts.New(sts.Options{BaseEndpoint: &b.connection.Endpoint, Region: options.Region, Credentials: options.Credentials})
	role, session := "arn:aws:iam::111122223333:role/any", "test"
	given, err := roles.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: &session, Policy: &policy})
	if err != nil {
		t.Fatal(err)
	}
	b.connection.AccessKeyID, b.connection.SecretAccessKey = *given.Credentials.AccessKeyId, *given.Credentials.SecretAccessKey
	b.connection.SessionToken = *given.Credentials.SessionToken
	return b
}

// The guide's policy suffices for a check and for a run, in one request and in parts; and without any one of the rights
// that a run needs it does not, so none of them is in it for nothing.
func TestTheGuidesPolicySuffices(t *testing.T) {
	b := newBucket(t)
	policy := strings.ReplaceAll(guideBlock(t, "s3:AbortMultipartUpload"), "arn:aws:s3:::lake", "arn:aws:s3:::"+b.connection.Bucket)
	allowed := b.restricted(t, policy)
	err := allowed.open(t, jsonSettings).Check(t.Context(), func(step destinations.Step) {
		if step.Detail != "" && strings.HasPrefix(step.Detail, "denied") {
			t.Errorf("%s: %s", step.Name, step.Detail)
		}
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := runOnce(t.Context(), allowed.open(t, jsonSettings), planOf(t, bigRows)); err != nil {
		t.Error(err)
	}
	for _, right := range []string{"s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"} {
		less := b.restricted(t, strings.ReplaceAll(policy, `"`+right+`"`, `"s3:GetObjectTagging"`))
		if err := less.open(t, jsonSettings).Check(t.Context(), func(destinations.Step) {}); err == nil {
			t.Errorf("a check passes without %s", right)
		}
	}
}
