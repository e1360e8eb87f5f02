package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"
)

// World is where the outside world is, as devstack and docker-compose.yml tell it by environment variables.
type World struct {
	TemporalUI        string
	TemporalNamespace string
	ClickHouse        *url.URL // HTTP, with user and password
	Database          string
	S3Endpoint        string
	Bucket            string
	Region            string
	AccessKeyID       string
	SecretAccessKey   string
}

// readWorld reads the environment; its error names every variable that is missing.
func readWorld() (World, error) {
	var missing []string
	get := func(name string) string {
		value := os.Getenv(name)
		if value == "" {
			missing = append(missing, name)
		}
		return value
	}
	native := get("MILLRACE_CLICKHOUSE_URL")
	http := get("MILLRACE_CLICKHOUSE_HTTP_URL")
	world := World{
		TemporalUI: get("TEMPORAL_UI_URL"), TemporalNamespace: get("TEMPORAL_NAMESPACE"),
		S3Endpoint: get("MILLRACE_S3_ENDPOINT"), Bucket: get("MILLRACE_S3_BUCKET"), Region: get("AWS_REGION"),
		AccessKeyID: get("AWS_ACCESS_KEY_ID"), SecretAccessKey: get("AWS_SECRET_ACCESS_KEY"),
	}
	if len(missing) > 0 {
		return World{}, fmt.Errorf("%s are not set: `make demo` and `bin/devstack -- COMMAND` set them", strings.Join(missing, ", "))
	}
	address, err := url.Parse(native)
	if err != nil {
		return World{}, errors.New("MILLRACE_CLICKHOUSE_URL is not a URL") // not repeated: it holds a password
	}
	world.Database = strings.TrimPrefix(address.Path, "/")
	if world.ClickHouse, err = url.Parse(http); err != nil {
		return World{}, errors.New("MILLRACE_CLICKHOUSE_HTTP_URL is not a URL")
	}
	return world, nil
}

// workflowURL is the page of a workflow in Temporal's UI, which leads on to its latest execution.
func (w World) workflowURL(workflowID string) string {
	return fmt.Sprintf("%s/namespaces/%s/workflows/%s", strings.TrimSuffix(w.TemporalUI, "/"), w.TemporalNamespace, url.PathEscape(workflowID))
}

// scheduleURL is the page of a schedule in Temporal's UI.
func (w World) scheduleURL(schedule string) string {
	return fmt.Sprintf("%s/namespaces/%s/schedules/%s", strings.TrimSuffix(w.TemporalUI, "/"), w.TemporalNamespace, url.PathEscape(schedule))
}

// await asks until the answer is yes, and gives up at the deadline with what was missing last. An error of ask ends it
// at once.
func await(ctx context.Context, what string, deadline time.Duration, ask func(context.Context) (missing string, err error)) error {
	late := errors.New("the deadline has passed")
	ctx, cancel := context.WithTimeoutCause(ctx, deadline, late)
	defer cancel()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	missing := "nothing was answered"
	for {
		last, err := ask(ctx)
		switch {
		case err == nil && last == "":
			return nil
		case err == nil:
			missing = last
		case ctx.Err() == nil:
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, late) {
				return cause
			}
			return fmt.Errorf("wait for %s: not there after %s: %s", what, deadline, missing)
		case <-tick.C:
		}
	}
}
