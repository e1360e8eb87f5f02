package s3

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

const testSecret = "hunter2hunter2"

// openAt opens bucket "lake" at an endpoint, with keys that must never be seen in a message.
func openAt(t testing.TB, endpoint string) destinations.Destination {
	t.Helper()
	block := fmt.Sprintf(`{"bucket": "lake", "endpoint": %q, "access_key_id": "AKIDEXAMPLE", "secret_access_key": %q}`, endpoint, testSecret)
	destination, err := open(t.Context(), json.RawMessage(block), json.RawMessage(`{"prefix": "events"}`), destinations.ShapeOf(export.Definition{}.WithDefaults()))
	if err != nil {
		t.Fatal(err)
	}
	return destination
}

// answering is a server that gives every request the same answer.
func answering(t testing.TB, status int, code, message string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		if r.Method != http.MethodHead && code != "" {
			fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>%s</Message><RequestId>4442587FB7D0A2F9</RequestId></Error>`, code, message)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// The bodies are those that Amazon documents; errors of a real store are in errors_world_test.go.
func TestAnswersOfTheStoreAreClassifiedAndExplained(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status        int
		code, message string
		kind          export.Kind
		want          string
	}{
		{404, "NoSuchBucket", "The specified bucket does not exist", export.KindNotFound, `the bucket does not exist: create it, or correct bucket in the connection (NoSuchBucket)`},
		{403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", export.KindAuth, `the store does not know this access key: correct access_key_id in the connection (InvalidAccessKeyId)`},
		{403, "SignatureDoesNotMatch", "The request signature we calculated does not match", export.KindAuth, `the secret does not fit the access key: correct secret_access_key in the connection (SignatureDoesNotMatch)`},
		{400, "ExpiredToken", "The provided token has expired.", export.KindAuth, `the credentials have expired, or do not belong together: renew access_key_id, secret_access_key and session_token in the connection (ExpiredToken)`},
		{403, "AccessDenied", "User: arn:aws:iam::1:user/u is not authorized to perform: s3:ListBucket", export.KindPermission,
			`access is denied: allow these credentials s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and s3:AbortMultipartUpload on the prefix (AccessDenied: User: arn:aws:iam::1:user/u is not authorized to perform: s3:ListBucket)`},
		{403, "RequestTimeTooSkewed", "The difference is too large", export.KindConfig, `this machine's clock differs from the store's by too much: set it right (RequestTimeTooSkewed)`},
		{301, "PermanentRedirect", "Use another endpoint", export.KindConfig, `the bucket is in another region, or the endpoint belongs to another: correct region and endpoint in the connection (PermanentRedirect)`},
		{400, "AuthorizationHeaderMalformed", "the region is wrong", export.KindConfig, `the bucket is in another region, or the endpoint belongs to another: correct region and endpoint in the connection (AuthorizationHeaderMalformed)`},
		{503, "SlowDown", "Please reduce your request rate.", export.KindQuota, `the store asks to slow down: it is tried again by itself (SlowDown)`},
		{507, "XMinioStorageFull", "full", export.KindQuota, `the store is full: make room (XMinioStorageFull)`},
		{500, "InternalError", "We encountered an internal error.", export.KindDestinationUnavailable, `the store has trouble of its own: it is tried again by itself (InternalError)`},
		{503, "Whatever", "unheard of", export.KindDestinationUnavailable, `the store has trouble of its own: it is tried again by itself (Whatever: unheard of, request 4442587FB7D0A2F9)`},
		{429, "", "", export.KindQuota, `the store asks to slow down: it is tried again by itself (TooManyRequests)`},
		{400, "Whatever", "unheard of", export.KindInternal, `the store answered what Millrace does not expect: please report it (Whatever: unheard of, request 4442587FB7D0A2F9)`},
	} {
		t.Run(fmt.Sprint(test.status, test.code), func(t *testing.T) {
			t.Parallel()
			endpoint := answering(t, test.status, test.code, test.message)
			_, err := openAt(t, endpoint).Published(t.Context(), runAt(tenOClock, time.Hour))
			const folder = "events/_millrace/shop-events/20261123T100000Z--20261123T110000Z/"
			want := fmt.Sprintf(`list %s: bucket "lake" at %s: %s`, folder, endpoint, test.want)
			wantError(t, err, test.kind, want)
		})
	}
}

func wantError(t *testing.T, err error, kind export.Kind, want string) {
	t.Helper()
	if err == nil || err.Error() != want || export.KindOf(err) != kind {
		t.Errorf("\ngot  %v (%s)\nwant %s (%s)", err, export.KindOf(err), want, kind)
	}
	if err != nil && strings.Contains(err.Error(), testSecret) {
		t.Error("the message holds the secret")
	}
}

// An answer to HEAD has no body and so no code; the message must be as exact as ever.
func TestAnAnswerToHeadIsExplainedByItsCode(t *testing.T) {
	endpoint := answering(t, 403, "SignatureDoesNotMatch", "")
	task := destinations.ChunkTask{Run: runAt(tenOClock, time.Hour)}
	_, err := openAt(t, endpoint).WriteChunk(t.Context(), task)
	wantError(t, err, export.KindAuth, fmt.Sprintf(`look for events/shop-events/20261123T100000Z--20261123T110000Z/r0001-00000.parquet: bucket "lake" at %s: the secret does not fit the access key: correct secret_access_key in the connection (SignatureDoesNotMatch)`, endpoint))
}

func TestAStoreThatIsNotThereIsExplained(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + listener.Addr().String()
	listener.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	breaking := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		connection, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			connection.Close()
		}
	}))
	t.Cleanup(breaking.Close)
	const check = "check that the store runs, and endpoint in the connection; it is tried again by itself"
	for _, test := range []struct {
		endpoint string
		kind     export.Kind
		want     string
	}{
		{closed, export.KindDestinationUnavailable, "the connection was refused: " + check},
		{breaking.URL, export.KindDestinationUnavailable, "the connection broke off: " + check},
		{strings.Replace(plain.URL, "http:", "https:", 1), export.KindConfig, "the endpoint does not speak TLS: write http:// instead of https:// in the connection"},
	} {
		t.Run(test.want, func(t *testing.T) {
			t.Parallel()
			_, err := openAt(t, test.endpoint).Published(t.Context(), runAt(tenOClock, time.Hour))
			wantError(t, err, test.kind, fmt.Sprintf(`list events/_millrace/shop-events/20261123T100000Z--20261123T110000Z/: bucket "lake" at %s: %s`, test.endpoint, test.want))
		})
	}
}

func TestACancelledRequestIsCancelledAndNothingElse(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := openAt(t, answering(t, 500, "InternalError", "")).Published(ctx, runAt(tenOClock, time.Hour))
	if export.KindOf(err) != export.KindCancelled {
		t.Errorf("got %v (%s)", err, export.KindOf(err))
	}
}

func TestMissingCredentialsAreTheUsersToGive(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
	destination, err := open(t.Context(), json.RawMessage(`{"bucket": "lake", "region": "eu-central-1"}`), nil, destinations.ShapeOf(export.Definition{}.WithDefaults()))
	if err != nil {
		t.Fatal(err)
	}
	_, err = destination.Published(t.Context(), runAt(tenOClock, time.Hour))
	wantError(t, err, export.KindAuth, `list _millrace/shop-events/20261123T100000Z--20261123T110000Z/: bucket "lake" in eu-central-1: no AWS credentials were found: give access_key_id and secret_access_key in the connection, or set the worker's AWS environment, profile or role`)
}

func TestAMissingRegionIsNamed(t *testing.T) {
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	_, err := open(t.Context(), json.RawMessage(`{"bucket": "ocean"}`), nil, destinations.ShapeOf(export.Definition{}.WithDefaults()))
	wantError(t, err, export.KindConfig, `region is missing: give the region of bucket "ocean" in the connection, or set AWS_REGION`)
}

func TestACheckOfAnAbsentStoreEndsWhereItIsReached(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	endpoint := "http://" + listener.Addr().String()
	listener.Close()
	var steps []string
	err = openAt(t, endpoint).Check(t.Context(), func(step destinations.Step) { steps = append(steps, step.Name+": "+step.Error) })
	want := fmt.Sprintf(`reach the endpoint: bucket "lake" at %s: the connection was refused: check that the store runs, and endpoint in the connection; it is tried again by itself`, endpoint)
	wantError(t, err, export.KindDestinationUnavailable, want)
	if len(steps) != 2 || steps[1] != "reach the endpoint: "+want {
		t.Errorf("steps: %q", steps)
	}
}
