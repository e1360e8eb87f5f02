package failpoint

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestARunningProcessIsArmedAnew(t *testing.T) {
	before := armed.Load()
	t.Cleanup(func() { armed.Store(before) })
	path := filepath.Join(t.TempDir(), "failpoints")
	if err := listen(path); err != nil {
		t.Fatal(err)
	}
	if err := ArmProcess(path, "test.point=error;test.gate=wait"); err != nil {
		t.Fatal(err)
	}
	if err := Hit(t.Context(), "test.point"); !errors.Is(err, ErrInjected) {
		t.Errorf("an armed point: %v", err)
	}
	waiting := make(chan error)
	go func() { waiting <- Hit(context.Background(), "test.gate") }()
	for Hits("test.gate") == 0 {
		if err := ArmProcess(path, "test.x=nonsense"); err == nil || !strings.Contains(err.Error(), `the action "nonsense" is none of`) {
			t.Fatalf("a wrong list: %v", err)
		}
	}
	if err := ArmProcess(path, ""); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; err != nil {
		t.Errorf("who waited at a point that is not armed any more: %v", err)
	}
	if err := Hit(t.Context(), "test.point"); err != nil {
		t.Errorf("a disarmed point: %v", err)
	}
	if err := ArmProcess(path+".absent", ""); err == nil {
		t.Error("a process that does not listen was armed")
	}
}
