package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/governor"
)

// Bulk is how the work of the past gives way to live work.
type Bulk struct {
	// Queue is the task queue of that work; everything on another is live.
	Queue string
	// Governor decides how many chunks of it are written at once; nil lets through whatever comes.
	Governor *governor.Governor
	// Reads are ClickHouse's settings for what it reads, beyond the usual ones.
	Reads map[string]string
}

// giveWayAgain is when a chunk that gave way asks again. It has waited for 20 s by then.
const giveWayAgain = 10 * time.Second

// livePriority and bulkPriority are ClickHouse's setting priority: a query waits, up to a second for each block, while one with
// a lower number runs. Those with none, as all inserts and other people's queries have, neither wait nor are waited for.
const (
	livePriority = "1"
	bulkPriority = "2"
)

// isBulk tells whether the activity is work of the past.
func (s *Steps) isBulk(ctx context.Context) bool {
	return s.Bulk.Queue != "" && activity.GetInfo(ctx).TaskQueue == s.Bulk.Queue
}

// reads are the settings with which ClickHouse reads for this activity.
func (s *Steps) reads(ctx context.Context) map[string]string {
	if !s.isBulk(ctx) {
		return map[string]string{"priority": livePriority}
	}
	return s.bulkReads()
}

// bulkReads are the settings with which ClickHouse reads for work of the past, and for estimates.
func (s *Steps) bulkReads() map[string]string {
	settings := map[string]string{"priority": bulkPriority}
	for name, value := range s.Bulk.Reads {
		settings[name] = value
	}
	return settings
}

// giveWay waits until a chunk may be written; done has to be called with what it has written. A chunk of a live run never
// waits. The error gives the slot back.
func (s *Steps) giveWay(ctx context.Context) (done func(rows, bytes uint64), err error) {
	if !s.isBulk(ctx) {
		ended := s.Bulk.Governor.Live()
		return func(uint64, uint64) { ended() }, nil
	}
	waiting, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer alive(ctx)()
	go func() {
		select {
		case <-activity.GetWorkerStopChannel(ctx):
			stop(errWorkerStopping)
		case <-waiting.Done():
		}
	}()
	place, why := s.Bulk.Governor.Admit(waiting)
	switch {
	case place != nil:
		return place.Done, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case context.Cause(waiting) != nil:
		return nil, notYet(errWorkerStopping.Error(), TypeWorkerStopping, time.Second)
	}
	return nil, notYet("gives way to live work: "+why, export.KindSourceBehind, giveWayAgain)
}

// tellStrain tells the governor of a destination that has too much to do.
func (s *Steps) tellStrain(err error) {
	if kind := export.KindOf(err); kind == export.KindQuota || kind == export.KindDestinationUnavailable {
		s.Bulk.Governor.Strained(governor.Strain{Kind: "destination", What: "the destination answered: " + err.Error()})
	}
}

// ReadStanding tells how the governor of the worker that happens to take it stands.
func (s *Steps) ReadStanding(context.Context) (governor.Standing, error) {
	return s.Bulk.Governor.Standing(), nil
}
