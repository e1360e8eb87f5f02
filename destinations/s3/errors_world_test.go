//go:build world

package s3

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

const listing = `list events/_millrace/shop-events/20261123T100000Z--20261123T110000Z/: bucket %q at %s: `

func TestMistakesInAConnectionAreExplainedByARealStore(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*connection)
		kind   export.Kind
		want   string
	}{
		{"bucket missing", func(c *connection) { c.Bucket += "-not" }, export.KindNotFound, `the bucket does not exist: create it, or correct bucket in the connection (NoSuchBucket)`},
		{"unknown key", func(c *connection) { c.AccessKeyID = "AKIDNOBODY" }, export.KindAuth, `the store does not know this access key: correct access_key_id in the connection (InvalidAccessKeyId)`},
		{"wrong secret", func(c *connection) { c.SecretAccessKey = testSecret }, export.KindAuth, `the secret does not fit the access key: correct secret_access_key in the connection (SignatureDoesNotMatch)`},
		{"wrong region", func(c *connection) { c.Region = "eu-north-1" }, export.KindConfig, `the bucket is in another region, or the endpoint belongs to another: correct region and endpoint in the connection (AuthorizationHeaderMalformed)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBucket(t)
			test.change(&b.connection)
			place := fmt.Sprintf("bucket %q at %s", b.connection.Bucket, b.connection.Endpoint)
			destination := b.open(t, `{"prefix": "events"}`)
			plan := planOf(t, 10)

			_, err := destination.Published(t.Context(), runAt(tenOClock, time.Hour))
			wantError(t, err, test.kind, fmt.Sprintf(listing, b.connection.Bucket, b.connection.Endpoint)+test.want)
			_, err = destination.Prepare(t.Context(), plan)
			wantError(t, err, test.kind, fmt.Sprintf(listing, b.connection.Bucket, b.connection.Endpoint)+test.want)

			var steps []destinations.Step
			err = destination.Check(t.Context(), func(step destinations.Step) { steps = append(steps, step) })
			wantError(t, err, test.kind, "list objects: "+place+": "+test.want)
			if len(steps) != 4 || steps[0].Error != "" || steps[1].Error != "" || steps[2].Error == "" || steps[3].Error == "" {
				t.Errorf("steps: %+v", steps)
			}
		})
	}
}

func TestACheckNamesWhatItTries(t *testing.T) {
	var names []string
	err := newBucket(t).open(t, `{}`).Check(t.Context(), func(step destinations.Step) { names = append(names, step.Name) })
	want := []string{
		"keep the model's columns", "reach the endpoint", "list objects", "write an object", "refuse a second write of it", "read it back with its checksum",
		"write an object in parts", "refuse a second write in parts", "delete what was written",
		"list unfinished uploads",
	}
	if err != nil || !slices.Equal(names, want) {
		t.Errorf("got %q (%v), want %q", names, err, want)
	}
}
