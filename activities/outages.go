package activities

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"

	"github.com/millrace/millrace/export"
)

const (
	// outageAfter is after how many failures in a row, none of them answered, a destination counts as away.
	outageAfter = 3
	// While it is away it is asked again after a tenth of the time that it has been away, within these bounds.
	askedLeast, askedMost = 5 * time.Second, 30 * time.Second
	// And who is not to ask comes again after a tenth of it, give or take a quarter, within these bounds. So a run goes on at
	// most six minutes after the destination is back, and costs Temporal ten attempts an hour.
	waitsLeast, waitsMost = 10 * time.Second, 5 * time.Minute
	outageShare           = 10
)

// Outages keeps the runs of an export from asking a destination over and over that does not answer, or asks to slow down: after
// three failures in a row one step of each export at a time asks it, and all others are told to wait, which costs neither it
// nor a slot anything. An export's runs of a day may pile up without it being asked more than by one of them. Exports are
// kept apart, for what is away for one may be a table that is locked.
//
// It knows what this process has met with. The zero Outages is ready; it is safe for concurrent use. Its Interceptor has to be
// given to the workers, or nothing is learned.
type Outages struct {
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	mu   sync.Mutex
	away map[asked]*outage
}

// asked is who asks, and what.
type asked struct{ export, connection string }

type outage struct {
	failures int
	since    time.Time
	next     time.Time // when it may be asked again
	asking   bool      // a step is at it
	last     string    // what the last failure said
}

// visit is one attempt of a step, and what it has to do with a destination.
type visit struct {
	asked
	// asks tells that it asks a destination that is away, for the others; waits that it was told to wait.
	asks, waits bool
}

type visitKey struct{}

func (o *Outages) clock() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

// enter is called before a step of an export asks a destination. The error tells it to wait.
func (o *Outages) enter(ctx context.Context, who asked) error {
	v, isVisit := ctx.Value(visitKey{}).(*visit)
	if o == nil || !isVisit {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	v.asked = who
	away := o.away[who]
	if away == nil || away.failures < outageAfter {
		return nil
	}
	now := o.clock()
	if !away.asking && !now.Before(away.next) {
		away.asking, v.asks = true, true
		return nil
	}
	v.waits = true
	wait := share(now.Sub(away.since), waitsLeast, waitsMost)
	wait += time.Duration((rand.Float64() - 0.5) / 2 * float64(wait))
	return notYet(fmt.Sprintf("connection %q has not answered since %s, and is asked by one step of the export at a time: %s", who.connection, away.since.UTC().Format(time.RFC3339), away.last),
		export.KindDestinationUnavailable, wait)
}

func share(of, least, most time.Duration) time.Duration {
	return min(max(of/outageShare, least), most)
}

// leave learns from how an attempt has ended.
func (o *Outages) leave(v *visit, err error) {
	if v.asked == (asked{}) || v.waits {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	away := o.away[v.asked]
	if v.asks && away != nil {
		away.asking = false
	}
	var failed *temporal.ApplicationError
	switch {
	case err == nil:
		delete(o.away, v.asked)
	case !errors.As(err, &failed): // cancelled: says nothing
	case isAway(export.Kind(failed.Type())):
		if away == nil {
			away = &outage{since: o.clock()}
			if o.away == nil {
				o.away = map[asked]*outage{}
			}
			o.away[v.asked] = away
		}
		away.failures++
		away.last = failed.Message()
		now := o.clock()
		away.next = now.Add(share(now.Sub(away.since), askedLeast, askedMost))
	case export.Kind(failed.Type()).UserMustAct():
		delete(o.away, v.asked) // it has answered
	}
}

// isAway tells the kinds of failures after which it would not help to ask again at once, whoever asks.
func isAway(kind export.Kind) bool {
	return kind == export.KindDestinationUnavailable || kind == export.KindQuota
}

// Interceptor sees how each attempt of a step ends.
func (o *Outages) Interceptor() interceptor.WorkerInterceptor { return &outageInterceptor{outages: o} }

type outageInterceptor struct {
	interceptor.WorkerInterceptorBase
	outages *Outages
}

// InterceptActivity puts itself before the steps.
func (i *outageInterceptor) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &outageInbound{interceptor.ActivityInboundInterceptorBase{Next: next}, i.outages}
}

type outageInbound struct {
	interceptor.ActivityInboundInterceptorBase
	outages *Outages
}

// ExecuteActivity has the step's context carry a visit.
func (i *outageInbound) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (answer any, err error) {
	v := &visit{}
	ended := false
	defer func() {
		if !ended { // it panics
			err = errPanicked
		}
		i.outages.leave(v, err)
	}()
	answer, err = i.Next.ExecuteActivity(context.WithValue(ctx, visitKey{}, v), in)
	ended = true
	return answer, err
}

// errPanicked stands for the end of a step that panics: it says nothing of the destination.
var errPanicked = errors.New("the step panicked")
