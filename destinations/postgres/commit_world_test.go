//go:build world

package postgres

import (
	"net/url"
	"testing"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld/testcut"
)

// newCommits stands between a client and the server, and cuts the connection at the COMMITs that at chooses.
func newCommits(t testing.TB, s schema, at func(n int64) testcut.Cut) *testcut.Commits {
	t.Helper()
	address, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	commits, err := testcut.NewCommits(address.Host, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(commits.Close)
	return commits
}

// The connection is cut at each COMMIT of a run, once so that it had its effect and once so that it had not. The step, or
// its repeat, finds out which, and there is one copy of everything in the end.
func TestWhateverComesOfACommitThereIsOneCopy(t *testing.T) {
	for _, mode := range []string{modeAppend, modeMerge} {
		for name, what := range map[string]testcut.Cut{"its answer is lost": testcut.LoseAnswer, "it is lost itself": testcut.LoseItself} {
			t.Run(mode+", "+name, func(t *testing.T) {
				more := map[string]any{"mode": mode}
				for n := int64(1); ; n++ {
					s := newSchema(t)
					commits := newCommits(t, s, func(commit int64) testcut.Cut {
						if commit == n {
							return what
						}
						return testcut.PassOn
					})
					plan := s.planOf(t, 0, 10, more)
					d := s.openAt(t, s.through(t, commits.Address), more)
					manifest, err := runOnce(t.Context(), d, plan, someRows(10))
					if err != nil {
						if export.KindOf(err) != export.KindDestinationUnavailable {
							t.Errorf("COMMIT %d: %v (%s)", n, err, export.KindOf(err))
						}
						manifest, err = runOnce(t.Context(), d, plan, someRows(10))
					}
					if err != nil || manifest.Rows != 10 {
						t.Errorf("COMMIT %d, the repeat: %d rows, %v", n, manifest.Rows, err)
					}
					s.wantRun(t, 10)
					if commits.Count() < n {
						t.Logf("%d commits were cut", n-1)
						if n < 5 {
							t.Error("there should be more")
						}
						return
					}
				}
			})
		}
	}
}

// The answer to the COMMIT that publishes is lost: the same call finds the run's row and says that it is published.
func TestALostAnswerToThePublishingCommitIsReadBack(t *testing.T) {
	s := newSchema(t)
	plan := s.planOf(t, 0, 10, nil)
	manifest, err := write(t.Context(), s.open(t, nil), plan, someRows(10))
	if err != nil {
		t.Fatal(err)
	}
	commits := newCommits(t, s, func(commit int64) testcut.Cut {
		if commit == 1 {
			return testcut.LoseAnswer
		}
		return testcut.PassOn
	})
	published, err := s.openAt(t, s.through(t, commits.Address), nil).Publish(t.Context(), manifest)
	if err != nil || published.Rows != 10 || commits.Count() == 0 {
		t.Errorf("%d rows, %v, after %d commits", published.Rows, err, commits.Count())
	}
	s.wantRun(t, 10)
}

// The COMMIT of a second revision is lost itself: that the first one is published is no answer to it.
func TestALostCommitOfASecondRevisionIsTriedAgain(t *testing.T) {
	s := newSchema(t)
	more := map[string]any{"mode": modeMerge}
	plan := s.planOf(t, 0, 10, more)
	if _, err := runOnce(t.Context(), s.open(t, more), plan, someRows(10)); err != nil {
		t.Fatal(err)
	}
	plan.Run.Revision = 2
	if err := s.open(t, more).writePlan(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	receipt, err := s.open(t, more).WriteChunk(t.Context(), destinations.ChunkTask{Run: plan.Run, Chunk: plan.Chunks[0], PlanHash: plan.Hash(), Source: someRows(10)})
	if err != nil {
		t.Fatal(err)
	}
	commits := newCommits(t, s, func(commit int64) testcut.Cut {
		if commit == 1 {
			return testcut.LoseItself
		}
		return testcut.PassOn
	})
	d := s.openAt(t, s.through(t, commits.Address), more)
	manifest := export.NewManifest(plan, []export.Receipt{receipt}, export.Proof{}, plan.By)
	_, err = d.Publish(t.Context(), manifest)
	wantError(t, err, export.KindDestinationUnavailable, "the answer to a commit was lost")
	published, err := d.Publish(t.Context(), manifest)
	if err != nil || published.Run.Revision != 2 {
		t.Errorf("again: revision %d, %v", published.Run.Revision, err)
	}
}
