//go:build world && !minio

package s3

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// storeName is the store that this build is tested on.
const storeName = "versitygw"

// unknownKeyCode is what versitygw says of an access key that it does not know, and Amazon InvalidAccessKeyId.
const unknownKeyCode = "XAdminUserNotFound"

// versitygw takes the headers of encryption and does nothing: what was to be encrypted lies there open, and a check says so.
func TestAStoreThatDoesNotEncryptIsRefused(t *testing.T) {
	b := newBucket(t)
	b.connection.encryption, b.connection.Encryption = nil, []byte(`{"type": "sse-s3"}`)
	var failed []string
	err := b.open(t, jsonSettings).Check(t.Context(), func(step destinations.Step) {
		if step.Error != "" {
			failed = append(failed, step.Name)
		}
	})
	if export.KindOf(err) != export.KindConfig || !strings.HasSuffix(err.Error(), "the store took the object and did not encrypt it as encryption in the connection says (sse-s3): leave encryption out, or use a store that does") {
		t.Errorf("got %v (%s)", err, export.KindOf(err))
	}
	if len(failed) != 1 || failed[0] != "read it back with its checksum" {
		t.Errorf("the failed steps are %q", failed)
	}
}
