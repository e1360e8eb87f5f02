package codec_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/proto"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/codec"
)

// key makes a key of an id and of one letter.
func key(t *testing.T, id, letter string) codec.Key {
	t.Helper()
	made, err := codec.NewKey(id, base64.StdEncoding.EncodeToString([]byte(strings.Repeat(letter, 32))))
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func payload(t *testing.T, value any) *commonpb.Payload {
	t.Helper()
	made, err := converter.GetDefaultDataConverter().ToPayload(value)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestWhatIsEncryptedIsReadByItsKeysAlone(t *testing.T) {
	clear := payload(t, map[string]string{"bucket": "lake"})
	old, now := codec.New(key(t, "k1", "a")), codec.New(key(t, "k2", "b"), key(t, "k1", "a"))
	encoded, err := old.Encode([]*commonpb.Payload{clear, clear})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(encoded[0].Data, encoded[1].Data) || strings.Contains(encoded[0].String(), "lake") || codec.Seal(encoded[0]) != "k1" {
		t.Errorf("encrypted is %s", encoded[0])
	}
	if passed, err := codec.New().Encode([]*commonpb.Payload{clear}); err != nil || !proto.Equal(passed[0], clear) {
		t.Errorf("without a key: %v, %v", passed, err)
	}
	for name, c := range map[string]*codec.Codec{"the same keys": old, "a newer key before it": now} {
		decoded, err := c.Decode([]*commonpb.Payload{encoded[0], clear})
		if err != nil || !proto.Equal(decoded[0], clear) || !proto.Equal(decoded[1], clear) {
			t.Errorf("%s: %v, %v", name, decoded, err)
		}
	}
	if again, err := now.Encode(encoded); err != nil || !proto.Equal(again[0], encoded[0]) {
		t.Errorf("encrypted twice: %v, %v", again, err)
	}
	newer, err := now.Encode([]*commonpb.Payload{clear})
	if err != nil || codec.Seal(newer[0]) != "k2" || codec.Seal(clear) != "" {
		t.Errorf("the first key does not encrypt: %v, %v", newer, err)
	}

	changed := proto.Clone(encoded[0]).(*commonpb.Payload)
	changed.Data[len(changed.Data)-1] ^= 1
	renamed := proto.Clone(encoded[0]).(*commonpb.Payload)
	renamed.Metadata["encryption-key-id"] = []byte("k2")
	short := proto.Clone(encoded[0]).(*commonpb.Payload)
	short.Data = short.Data[:5]
	const another = `a payload is encrypted with another key %q than the one here: give the key that had this id in MILLRACE_CODEC_KEYS, and a new key a new id`
	for _, test := range []struct {
		codec   *codec.Codec
		payload *commonpb.Payload
		want    string
	}{
		{codec.New(key(t, "k2", "b"), key(t, "k3", "a")), encoded[0], `a payload is encrypted with key "k1", and the keys here are "k2", "k3": add that key to MILLRACE_CODEC_KEYS, behind the first`},
		{codec.New(), encoded[0], `a payload is encrypted with key "k1", and there is no key here: set MILLRACE_CODEC_KEYS as it is where that was encrypted`},
		{codec.New(key(t, "k1", "b")), encoded[0], fmt.Sprintf(another, "k1")},
		{old, changed, fmt.Sprintf(another, "k1")},
		{codec.New(key(t, "k2", "a")), renamed, fmt.Sprintf(another, "k2")},
		{old, short, `a payload that is encrypted with key "k1" is cut short: its 5 bytes cannot be decrypted`},
	} {
		_, err := test.codec.Decode([]*commonpb.Payload{test.payload})
		if err == nil || err.Error() != test.want || export.KindOf(err) != export.KindConfig {
			t.Errorf("got  %v\nwant %s", err, test.want)
		}
	}
}

func TestKeysAreReadFromAList(t *testing.T) {
	secret := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("a"), 32))
	resolve := func(reference string) (string, error) {
		switch reference {
		case "env:GOOD":
			return secret, nil
		case "env:SHORT":
			return "aGVsbG8=", nil
		}
		return "", errors.New("no reference")
	}
	keys, err := codec.ParseKeys(" k2=env:GOOD, k1=env:GOOD ", resolve)
	if err != nil || len(keys) != 2 || keys[0].ID != "k2" {
		t.Errorf("read %v, %v", keys, err)
	}
	if shown := fmt.Sprintf("%+v %#v", keys, keys); strings.Contains(shown, strings.Repeat("a", 4)) || strings.Contains(shown, secret) {
		t.Errorf("a key shows its secret: %s", shown)
	}
	if keys, err := codec.ParseKeys(" ", resolve); err != nil || keys != nil {
		t.Errorf("of an empty list: %v, %v", keys, err)
	}
	for list, want := range map[string]string{
		"env:GOOD":          "key 1 of the list has no id: write id=reference, such as k1=env:MILLRACE_CODEC_KEY or k1=file:/run/secrets/k1",
		"k1=env:GOOD,":      "key 2 of the list has no id: write id=reference, such as k1=env:MILLRACE_CODEC_KEY or k1=file:/run/secrets/k1",
		"k 1=env:GOOD":      `key "k 1": an id has 1 to 64 letters, digits, dots, dashes and underscores, such as k1`,
		"k1=env:SHORT":      "key \"k1\" is not 32 bytes as base64: make one with `head -c 32 /dev/urandom | base64`",
		"k1=" + secret:      `key "k1": no reference`,
		"k=env:GOOD,k=env:": `key "k" is there twice: every key needs an id of its own`,
	} {
		if _, err := codec.ParseKeys(list, resolve); err == nil || err.Error() != want || export.KindOf(err) != export.KindConfig {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestFailuresAreEncryptedButForTheirType(t *testing.T) {
	failures := codec.FailureConverter(codec.New(key(t, "k1", "a")))
	failure := failures.ErrorToFailure(temporal.NewApplicationError("bucket lake is missing", "not_found"))
	if text := failure.String(); strings.Contains(text, "lake") || failure.GetApplicationFailureInfo().GetType() != "not_found" {
		t.Errorf("stored is %s", text)
	}
	if back := failures.FailureToError(failure); !strings.Contains(back.Error(), "bucket lake is missing") {
		t.Errorf("read back as %v", back)
	}
}

func TestTheEndpointAnswersItsUIAndPrograms(t *testing.T) {
	const ui = "http://localhost:8233"
	c := codec.New(key(t, "k1", "a"))
	ask := func(endpoint codec.Endpoint, method, path, origin, authorization, body string) *httptest.ResponseRecorder {
		request := httptest.NewRequest(method, path, strings.NewReader(body))
		request.Header.Set("X-Namespace", "default")
		if origin != "" {
			request.Header.Set("Origin", origin)
		}
		if authorization != "" {
			request.Header.Set("Authorization", authorization)
		}
		answer := httptest.NewRecorder()
		endpoint.Handler().ServeHTTP(answer, request)
		return answer
	}
	open := codec.Endpoint{Codec: c, Origins: []string{ui}}
	guarded := codec.Endpoint{Codec: c, Origins: []string{ui}, Authorization: "Bearer letmein"}
	const clear = `{"payloads":[{"metadata":{"encoding":"anNvbi9wbGFpbg=="},"data":"Imxha2Ui"}]}`

	encoded := ask(open, http.MethodPost, "/encode", "", "", clear)
	if encoded.Code != http.StatusOK || strings.Contains(encoded.Body.String(), "Imxha2Ui") {
		t.Fatalf("encoded: %d %s", encoded.Code, encoded.Body)
	}
	sealed := encoded.Body.String()
	for _, test := range []struct {
		name                                string
		endpoint                            codec.Endpoint
		method, path, origin, authorization string
		body                                string
		code                                int
		want                                string
	}{
		{"a program decodes", open, http.MethodPost, "/decode", "", "", sealed, http.StatusOK, "Imxha2Ui"},
		{"the UI decodes", open, http.MethodPost, "/decode", ui, "", sealed, http.StatusOK, "Imxha2Ui"},
		{"what is clear passes", open, http.MethodPost, "/decode", ui, "", clear, http.StatusOK, "Imxha2Ui"},
		{"the UI asks first", open, http.MethodOptions, "/decode", ui, "", "", http.StatusNoContent, ""},
		{"the UI asks first, without its token", guarded, http.MethodOptions, "/decode", ui, "", "", http.StatusNoContent, ""},
		{"another page", open, http.MethodPost, "/decode", "http://evil.example", "", sealed, http.StatusForbidden, "pages of http://evil.example may not ask"},
		{"a token is missing", guarded, http.MethodPost, "/decode", ui, "", sealed, http.StatusUnauthorized, "the header Authorization"},
		{"a token is wrong", guarded, http.MethodPost, "/decode", "", "Bearer letmeout", sealed, http.StatusUnauthorized, "the header Authorization"},
		{"a token is right", guarded, http.MethodPost, "/decode", ui, "Bearer letmein", sealed, http.StatusOK, "Imxha2Ui"},
		{"a wrong key", codec.Endpoint{Codec: codec.New(key(t, "k9", "a"))}, http.MethodPost, "/decode", "", "", sealed, http.StatusBadRequest, `encrypted with key "k1"`},
		{"another path", open, http.MethodPost, "/", ui, "", sealed, http.StatusNotFound, ""},
		{"another method", open, http.MethodGet, "/decode", ui, "", "", http.StatusNotFound, ""},
	} {
		answer := ask(test.endpoint, test.method, test.path, test.origin, test.authorization, test.body)
		if answer.Code != test.code || !strings.Contains(answer.Body.String(), test.want) {
			t.Errorf("%s: %d %s", test.name, answer.Code, answer.Body)
		}
		if allowed := answer.Header().Get("Access-Control-Allow-Origin"); (test.origin == ui) != (allowed == ui) {
			t.Errorf("%s: allowed origin %q", test.name, allowed)
		}
	}
}
