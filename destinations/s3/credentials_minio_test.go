//go:build world && minio

package s3

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

const anyRole = "arn:aws:iam::111122223333:role/exporter"

// asRole takes on a role with the bucket's keys, at the store's own service.
func (b bucket) asRole() bucket {
	b.connection.RoleARN, b.connection.ExternalID, b.connection.STSEndpoint = anyRole, "the owner's word", b.connection.Endpoint
	return b
}

// A run by the credentials of a role: asked for once, with the external id, and signed by with their token.
func TestARunByARole(t *testing.T) {
	b := newBucket(t)
	var asked, signed, without atomic.Int64
	between := b.between(t, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		switch {
		case r.Method == http.MethodPost && r.URL.Path == "/":
			asked.Add(1)
		case r.Header.Get("X-Amz-Security-Token") != "":
			signed.Add(1)
		default:
			without.Add(1)
		}
		pass.ServeHTTP(w, r)
	}).asRole()
	if _, err := runOnce(t.Context(), between.open(t, jsonSettings), planOf(t, bigRows)); err != nil {
		t.Fatal(err)
	}
	if asked.Load() != 1 || signed.Load() < 5 || without.Load() != 0 {
		t.Errorf("the role was asked for %d times, %d requests bear its token, %d do not", asked.Load(), signed.Load(), without.Load())
	}
	b.wantRun(t, 0)
}

// Each mistake with credentials that expire is told by its kind, and no secret is in its words.
func TestMistakesWithRolesAndTokensAreExplained(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*connection)
		kind   export.Kind
		want   string
	}{
		{"the role's service is away", func(c *connection) { c.STSEndpoint = "http://127.0.0.1:1" }, export.KindDestinationUnavailable, "the connection was refused"},
		{"the base keys are unknown", func(c *connection) { c.AccessKeyID = "AKIDNOBODY" }, export.KindPermission, "the role was refused"},  // MinIO says AccessDenied, Amazon InvalidClientTokenId,
		{"the base secret is wrong", func(c *connection) { c.SecretAccessKey = testSecret }, export.KindPermission, "the role was refused"}, // MinIO again,
		{"a token that is none", func(c *connection) {
			c.RoleARN, c.ExternalID, c.STSEndpoint, c.SessionToken = "", "", "", testSecret
		}, export.KindAuth, "the credentials have expired, or do not belong together"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBucket(t).asRole()
			test.change(&b.connection)
			_, err := runOnce(t.Context(), b.open(t, jsonSettings), planOf(t, 10))
			if export.KindOf(err) != test.kind || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v (%s), want %s: %s", err, export.KindOf(err), test.kind, test.want)
			}
			for _, secret := range []string{b.connection.SecretAccessKey, testSecret} {
				if strings.Contains(fmt.Sprint(err), secret) {
					t.Error("the secret is in the error")
				}
			}
		})
	}
}

// A profile goes before what the environment has, which here is a key that nobody knows.
func TestARunByAProfile(t *testing.T) {
	b := newBucket(t)
	file := filepath.Join(t.TempDir(), "credentials")
	profile := fmt.Sprintf("[lake]\naws_access_key_id = %s\naws_secret_access_key = %s\n", b.connection.AccessKeyID, b.connection.SecretAccessKey)
	if err := os.WriteFile(file, []byte(profile), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDNOBODY")
	b.connection.AccessKeyID, b.connection.SecretAccessKey, b.connection.Profile = "", "", "lake"
	if _, err := runOnce(t.Context(), b.open(t, jsonSettings), planOf(t, 10)); err != nil {
		t.Error(err)
	}
	b.connection.Profile = "pond"
	_, err := newClient(t.Context(), b.connection)
	if export.KindOf(err) != export.KindConfig || !strings.HasPrefix(err.Error(), `profile: "pond" is not in the AWS configuration of this machine`) {
		t.Errorf("a profile that is not there: %v", err)
	}
}

// The keys of the environment are found when the connection names none.
func TestARunByTheEnvironment(t *testing.T) {
	b := newBucket(t)
	b.connection.AccessKeyID, b.connection.SecretAccessKey = "", "" // the world has them in the environment
	if _, err := runOnce(t.Context(), b.open(t, jsonSettings), planOf(t, 10)); err != nil {
		t.Error(err)
	}
}

// With path_style false the bucket is in the host name, and not in the path.
func TestABucketByItsHostName(t *testing.T) {
	b := newBucket(t)
	usual := sender
	t.Cleanup(func() { sender = usual })
	// Not every system takes lake.localhost for this machine.
	sender = usual.WithTransportOptions(func(transport *http.Transport) {
		transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
		}
	})
	var named, other atomic.Int64
	between := b.between(t, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if strings.HasPrefix(r.Host, b.connection.Bucket+".localhost:") && !strings.Contains(r.URL.Path, b.connection.Bucket) {
			named.Add(1)
		} else {
			other.Add(1)
		}
		pass.ServeHTTP(w, r)
	})
	virtual := false
	between.connection.PathStyle = &virtual
	between.connection.Endpoint = strings.Replace(between.connection.Endpoint, "127.0.0.1", "localhost", 1)
	if err := between.open(t, jsonSettings).Check(t.Context(), func(destinations.Step) {}); err != nil {
		t.Error(err)
	}
	if _, err := runOnce(t.Context(), between.open(t, jsonSettings), planOf(t, bigRows)); err != nil {
		t.Error(err)
	}
	if named.Load() < 10 || other.Load() != 0 {
		t.Errorf("%d requests name the bucket in the host, %d do not", named.Load(), other.Load())
	}
	b.wantRun(t, 0)
}
