//go:build world

package s3

import (
	"testing"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// A column whose values the format does not keep is told by a check, and a run of it writes nothing.
func TestTypesThatAFormatDoesNotKeepAreRefused(t *testing.T) {
	const want = `format parquet does not keep the model's columns as they are: column "v" is Time64(6): select toString(v) AS v in the model's query, or use another format`
	b, plan := newBucket(t), planOf(t, 1)
	d := b.open(t, `{"format": "parquet"}`).(*Destination)
	d.columns = []export.Column{{Name: "id", Type: "Int64"}, {Name: "v", Type: "Time64(6)"}}
	_, err := d.Prepare(t.Context(), plan)
	wantError(t, err, export.KindSchema, "prepare "+plan.Run.String()+": "+want)
	var told []string
	err = d.Check(t.Context(), func(step destinations.Step) {
		if step.Error != "" {
			told = append(told, step.Error)
		}
	})
	wantError(t, err, export.KindSchema, want)
	if len(told) != 1 || told[0] != want {
		t.Errorf("the check tells %q", told)
	}
	if left := b.contents(t); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
