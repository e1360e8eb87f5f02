//go:build world

package eventstore_test

import (
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
)

func open(t *testing.T, config eventstore.Config) *eventstore.Store {
	t.Helper()
	store, err := eventstore.Open(t.Context(), config)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func TestSetupTwiceAppliesEachStepOnce(t *testing.T) {
	store := open(t, eventstoretest.Config(t))
	err := store.CheckSchema(t.Context())
	if err == nil || !strings.Contains(err.Error(), "run `millrace setup`") {
		t.Fatalf("CheckSchema before setup = %v, want an error that says what to do", err)
	}
	first, err := store.Setup(t.Context())
	if err != nil {
		t.Fatalf("Setup: %v", err)
	}
	second, err := store.Setup(t.Context())
	if err != nil {
		t.Fatalf("Setup again: %v", err)
	}
	if len(first) == 0 || len(second) != len(first) {
		t.Fatalf("Setup = %d steps, then %d", len(first), len(second))
	}
	for i := range first {
		if !first[i].New || second[i].New {
			t.Errorf("step %d: new = %t, then %t; want true, then false", first[i].Version, first[i].New, second[i].New)
		}
		if first[i].At.IsZero() || !first[i].At.Equal(second[i].At) {
			t.Errorf("step %d: applied at %s, then %s", first[i].Version, first[i].At, second[i].At)
		}
	}
	if err := store.CheckSchema(t.Context()); err != nil {
		t.Errorf("CheckSchema: %v", err)
	}
	if err := store.CheckServer(t.Context()); err != nil {
		t.Errorf("CheckServer: %v", err)
	}
	if err := store.Ping(t.Context()); err != nil {
		t.Errorf("Ping: %v", err)
	}
}

func TestSetupByManyAtOnce(t *testing.T) {
	config := eventstoretest.Config(t)
	var all sync.WaitGroup
	for range 8 {
		store := open(t, config)
		all.Go(func() {
			if _, err := store.Setup(t.Context()); err != nil {
				t.Errorf("Setup: %v", err)
			}
		})
	}
	all.Wait()
	store := open(t, config)
	if err := store.CheckSchema(t.Context()); err != nil {
		t.Errorf("CheckSchema: %v", err)
	}
	steps, err := store.Setup(t.Context())
	if err != nil {
		t.Fatalf("Setup afterwards: %v", err)
	}
	for _, step := range steps {
		if step.New {
			t.Errorf("step %d was applied once more", step.Version)
		}
	}
}

func TestSetupAfterAKillInTheMiddle(t *testing.T) {
	store := eventstoretest.New(t)
	steps, err := store.Setup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	versions := len(steps)
	eventstoretest.Exec(t, "ALTER TABLE `"+store.Database()+"`.schema_versions DELETE WHERE version >= 3 SETTINGS mutations_sync = 1")
	err = store.CheckSchema(t.Context())
	if err == nil || !strings.Contains(err.Error(), "has schema version 2, version "+strconv.Itoa(versions)+" is needed: run `millrace setup`") {
		t.Fatalf("CheckSchema = %v", err)
	}
	if _, err := store.Setup(t.Context()); err != nil {
		t.Fatalf("Setup: %v", err)
	}
	if err := store.CheckSchema(t.Context()); err != nil {
		t.Fatalf("CheckSchema: %v", err)
	}
}

func TestCheckServerNamesWhatIsWrong(t *testing.T) {
	store := eventstoretest.New(t)
	table := "`" + store.Database() + "`.events"
	eventstoretest.Exec(t, "ALTER TABLE "+table+" DROP CONSTRAINT arrival")
	eventstoretest.Exec(t, "ALTER TABLE "+table+" MODIFY SETTING non_replicated_deduplication_window = 100")
	err := store.CheckServer(t.Context())
	if err == nil || !strings.Contains(err.Error(), "remembers 100 tokens") || !strings.Contains(err.Error(), "ADD CONSTRAINT arrival") {
		t.Fatalf("CheckServer = %v, want both faults with their remedies", err)
	}
}
