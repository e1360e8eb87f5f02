package crash

import (
	"sync/atomic"

	"github.com/millrace/millrace/internal/testworld/testcut"
)

// DatabaseRelay stands between workers and Postgres, and cuts connections at COMMIT when it is told to.
type DatabaseRelay struct {
	*testcut.Commits

	cuts atomic.Pointer[commitCuts]
}

// commitCuts says what becomes of COMMITs.
type commitCuts struct {
	left atomic.Int64 // how many are still cut
	how  testcut.Cut
	cut  chan struct{} // gets one for each that is cut
}

// StartDatabaseRelay relays to a server, given as host:port, until Close.
func StartDatabaseRelay(server string) (*DatabaseRelay, error) {
	r := &DatabaseRelay{}
	var err error
	r.Commits, err = testcut.NewCommits(server, func(int64) testcut.Cut {
		cuts := r.cuts.Load()
		if cuts == nil || cuts.left.Add(-1) < 0 {
			return testcut.PassOn
		}
		cuts.cut <- struct{}{}
		return cuts.how
	})
	return r, err
}

// cutCommits cuts the next COMMITs. The channel gets one for each.
func (r *DatabaseRelay) cutCommits(number int64, how testcut.Cut) <-chan struct{} {
	cuts := &commitCuts{how: how, cut: make(chan struct{}, number)}
	cuts.left.Store(number)
	r.cuts.Store(cuts)
	return cuts.cut
}

// mend cuts no more.
func (r *DatabaseRelay) mend() { r.cuts.Store(nil) }
