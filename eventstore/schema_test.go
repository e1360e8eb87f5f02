package eventstore

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

func TestStepsAreNumberedAndMayBeRepeated(t *testing.T) {
	steps, err := readSteps(schemaFiles)
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range steps {
		if step.version != i+1 || len(step.statements) == 0 {
			t.Errorf("step %d is %+v", i+1, step)
		}
		for _, statement := range step.statements {
			if !strings.Contains(statement, "IF NOT EXISTS") {
				t.Errorf("step %d may not be run twice: %s", step.version, statement)
			}
		}
	}
}

func TestStepsRefuseGapsAndStrangers(t *testing.T) {
	for name, want := range map[string]string{
		"schema/0002_late.sql": "schema/0002_late.sql: the number must be 0001",
		"schema/notes.txt":     "schema/notes.txt is not named <4 digits>_<name>.sql",
	} {
		_, err := readSteps(fstest.MapFS{name: {Data: []byte("SELECT 1;\n")}})
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

func TestConstraintIsTheOneOfTheSchema(t *testing.T) {
	text, err := schemaFiles.ReadFile("schema/0002_events.sql")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "CONSTRAINT arrival CHECK "+ArrivalConstraint+"\n") {
		t.Errorf("schema/0002_events.sql has another constraint than ArrivalConstraint")
	}
}

// docs/proof.md tells readers how to compute the hash by themselves.
func TestTheGuideToTheProofHasTheStructure(t *testing.T) {
	text, err := os.ReadFile("../docs/proof.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "\n"+EventsStructure()+"\n") {
		t.Errorf("docs/proof.md does not have the line\n%s", EventsStructure())
	}
}
