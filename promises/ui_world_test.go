//go:build world

package promises

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

// A schedule that was typed into the Temporal UI works, and is warned of: the UI's form knows no overlap policy, and the
// default loses intervals. What is sent here, through the UI's own door, is what its form sends.
func TestAScheduleTypedIntoTheUIWorksAndIsWarnedOf(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.load(2, 1)
	t.work()
	input, err := os.ReadFile("../examples/export-shop-events.json")
	if err != nil {
		t.Fatal(err)
	}
	encoded := base64.StdEncoding.EncodeToString
	body, err := json.Marshal(map[string]any{"requestId": uuid.NewString(), "schedule": map[string]any{
		"action": map[string]any{"startWorkflow": map[string]any{
			"workflowId": "shop-events", "workflowType": map[string]any{"name": "Export"}, "taskQueue": map[string]any{"name": "millrace"},
			"input": map[string]any{"payloads": []any{map[string]any{
				"metadata": map[string]any{"encoding": encoded([]byte("json/plain"))}, "data": encoded(input),
			}}},
		}},
		"spec": map[string]any{"interval": []any{map[string]any{"interval": "3600s", "phase": "0s"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.post("/api/v1/namespaces/"+t.Name+"/schedules/shop-events", body)

	status, err := t.starter.Export(t.Context(), "shop-events", 10)
	if err != nil {
		t.Fatal(err)
	}
	const warning = "overlap policy Skip loses an interval whenever a run is late: set AllowAll with `millrace apply`, or with `temporal schedule update`"
	if len(status.Warnings) != 1 || status.Warnings[0] != warning {
		t.Errorf("the warnings are %q", status.Warnings)
	}
	if err := t.Client.ScheduleClient().GetHandle(t.Context(), "shop-events").Backfill(t.Context(), client.ScheduleBackfillOptions{
		Backfill: []client.ScheduleBackfill{{Start: hour(1).End, End: hour(1).End, Overlap: allowAll}},
	}); err != nil {
		t.Fatal(err)
	}
	if got := t.outcomes("shop-events", 1); got[export.StatusPublished] != 1 {
		t.Errorf("it ended with %v", got)
	}
	if manifest := t.manifests()[hour(1).Key()]; manifest.Rows != 2 {
		t.Errorf("the manifest is %+v", manifest)
	}
	if t.apply(hourly("shop-events", 1)); len(t.warnings("shop-events")) != 0 {
		t.Errorf("after apply the warnings are %q", t.warnings("shop-events"))
	}
}

func (t *thread) warnings(name string) []string {
	t.Helper()
	status, err := t.starter.Export(t.Context(), name, 1)
	if err != nil {
		t.Fatal(err)
	}
	return status.Warnings
}

// post sends a request through the UI's server, with the token against forged requests that its page would send along.
func (t *thread) post(path string, body []byte) {
	t.Helper()
	address := testworld.Env(t.T, "TEMPORAL_UI_URL")
	page, err := http.Get(address + "/api/v1/settings")
	if err != nil {
		t.Fatal(err)
	}
	page.Body.Close()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	for _, cookie := range page.Cookies() {
		request.AddCookie(cookie)
		if strings.Contains(cookie.Name, "csrf") {
			request.Header.Set("X-CSRF-TOKEN", cookie.Value)
		}
	}
	answer, err := (&http.Client{Timeout: 10 * time.Second}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if said, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK {
		t.Fatalf("the UI answered %s: %s", answer.Status, said)
	}
}
