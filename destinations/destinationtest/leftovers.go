package destinationtest

import (
	"context"
	"testing"

	"github.com/millrace/millrace/destinations"
)

var leftovers = []promise{
	{"a check that passes leaves nothing behind", func(t *testing.T, s Subject) {
		before := s.contents(t)
		var steps []destinations.Step
		if err := s.Open(t).Check(t.Context(), func(step destinations.Step) { steps = append(steps, step) }); err != nil {
			t.Errorf("check: %v", err)
		}
		if len(steps) == 0 {
			t.Error("no step was reported")
		}
		for _, step := range steps {
			if step.Name == "" || step.Error != "" {
				t.Errorf("step %q: %s", step.Name, step.Error)
			}
		}
		s.sameContents(t, before)
	}},
	{"a check that is cancelled leaves nothing behind", func(t *testing.T, s Subject) {
		before := s.contents(t)
		for after := 1; ; after++ {
			working, cancel := context.WithCancel(t.Context())
			reported := 0
			_ = s.Open(t).Check(working, func(destinations.Step) {
				if reported++; reported == after {
					cancel()
				}
			})
			cancel()
			s.sameContents(t, before)
			if reported < after { // it had fewer steps, so the last round cancelled after all of them
				return
			}
		}
	}},
	{"an abort leaves finished chunks alone", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300)
		s.prepare(t, plan)
		receipts := s.write(t, plan)
		before := s.contents(t)
		for range 2 {
			if err := s.Open(t).Abort(t.Context(), plan.Run, plan.By.RunID); err != nil {
				t.Errorf("abort: %v", err)
			}
		}
		s.sameContents(t, before)
		s.finish(t, plan, receipts)
	}},
	{"an abort ends the open work of its own execution", func(t *testing.T, s Subject) {
		s.abortBeside(t, true)
	}},
	{"an abort leaves the open work of another execution alone", func(t *testing.T, s Subject) {
		s.abortBeside(t, false)
	}},
}

// abortBeside holds one execution's big chunk in mid-stream and aborts its own execution or another one.
func (s Subject) abortBeside(t *testing.T, own bool) {
	plan := s.plan("first", 500)
	s.prepare(t, plan)
	before := s.contents(t)
	from := wide(500, s.BigChunk)
	from.blockAt, from.reached = s.BigChunk*9/10, make(chan struct{})
	working, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	destination := s.Open(t)
	go func() {
		_, err := destination.WriteChunk(working, task(plan, 0, from))
		ended <- err
	}()
	<-from.reached
	during := s.contents(t)
	if len(during) == len(before) {
		t.Fatal("nothing is open: BigChunk is too small to see an abort")
	}
	execution := plan.By.RunID
	if !own {
		execution = "another"
	}
	if err := s.Open(t).Abort(t.Context(), plan.Run, execution); err != nil {
		t.Errorf("abort: %v", err)
	}
	if own {
		s.sameContents(t, before)
	} else {
		s.sameContents(t, during)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("the cancelled work says that it is done")
	}
	s.sameContents(t, before)
}
