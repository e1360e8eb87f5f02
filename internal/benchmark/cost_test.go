//go:build bench

package benchmark

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/starter"
)

// meter reads how much processor time the processes of the world have used. It does not depend on the neighbours as much as
// time does.
type meter struct {
	names []string
	pids  map[string]int
}

// newMeter is of the parts of the world and of the worker.
func newMeter(t *testing.T, worker *exec.Cmd, parts ...string) meter {
	t.Helper()
	content, err := os.ReadFile(testworld.Env(t, "DEVSTACK_WORLD"))
	if err != nil {
		t.Fatal(err)
	}
	var world struct {
		Parts []struct {
			Name string `json:"name"`
			PID  int    `json:"pid"`
		} `json:"parts"`
	}
	if err := json.Unmarshal(content, &world); err != nil {
		t.Fatal(err)
	}
	m := meter{names: append([]string{"worker"}, parts...), pids: map[string]int{"worker": worker.Process.Pid}}
	for _, part := range world.Parts {
		m.pids[part.Name] = part.PID
	}
	return m
}

// read is the seconds of user and system time so far, of each process with its children.
func (m meter) read(t *testing.T) map[string]float64 {
	t.Helper()
	parents, times := processes(t)
	used := map[string]float64{}
	for pid, time := range times {
		for _, name := range m.names {
			for ancestor := pid; ancestor > 1; ancestor = parents[ancestor] {
				if ancestor == m.pids[name] {
					used[name] += time
					break
				}
			}
		}
	}
	return used
}

// ticks is how many of its clock's ticks Linux tells for a second, on every machine that Go runs on.
const ticks = 100

// processes reads the parent and the seconds used of all processes; those that end meanwhile are left out.
func processes(t *testing.T) (parents map[int]int, times map[int]float64) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	parents, times = map[int]int{}, map[int]float64{}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue
		}
		// After the name in parentheses: state, parent, …; user and system time are the 14th and 15th field of all.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		parents[pid], _ = strconv.Atoi(fields[1])
		user, _ := strconv.ParseFloat(fields[11], 64)
		system, _ := strconv.ParseFloat(fields[12], 64)
		times[pid] = (user + system) / ticks
	}
	return parents, times
}

// during is what the processes use while something is done.
func (m meter) during(t *testing.T, act func()) map[string]float64 {
	t.Helper()
	before := m.read(t)
	act()
	after := m.read(t)
	for name := range after {
		after[name] -= before[name]
	}
	return after
}

// costs collects what the processes used, by the thing that was done.
type costs struct {
	meter  meter
	things []string
	used   map[string]map[string][]float64
}

func (c *costs) add(thing string, used map[string]float64) {
	if c.used[thing] == nil {
		c.things = append(c.things, thing)
		c.used[thing] = map[string][]float64{}
	}
	for _, name := range c.meter.names {
		c.used[thing][name] = append(c.used[thing][name], used[name])
	}
}

func (c *costs) print() {
	fmt.Printf("processor seconds, medians:\n%10s", "")
	for _, name := range c.meter.names {
		fmt.Printf(" %12s", name)
	}
	fmt.Println()
	for _, thing := range c.things {
		fmt.Printf("%10s", thing)
		for _, name := range c.meter.names {
			fmt.Printf(" %11.2fs", median(c.used[thing][name]))
		}
		fmt.Println()
	}
}

// stepTimes are, for each activity of a run, the time from when the first was scheduled until the last was done, and how many
// events its history has.
func stepTimes(t *testing.T, temporal client.Client, started starter.Started) (took map[string]time.Duration, events int) {
	t.Helper()
	names, first := map[int64]string{}, map[string]time.Time{}
	took = map[string]time.Duration{}
	history := temporal.GetWorkflowHistory(t.Context(), started.WorkflowID, started.RunID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for history.HasNext() {
		happened, err := history.Next()
		if err != nil {
			t.Fatal(err)
		}
		events++
		if scheduled := happened.GetActivityTaskScheduledEventAttributes(); scheduled != nil {
			name := scheduled.GetActivityType().GetName()
			names[happened.EventId] = name
			if first[name].IsZero() {
				first[name] = happened.EventTime.AsTime()
			}
		}
		if done := happened.GetActivityTaskCompletedEventAttributes(); done != nil {
			name := names[done.GetScheduledEventId()]
			took[name] = happened.EventTime.AsTime().Sub(first[name])
		}
	}
	return took, events
}

// steps are a run's activities, in their order.
var steps = []string{"PlanRun", "PrepareRun", "WriteChunk", "ProveRun", "PublishRun", "RecordRun"}

// printSteps prints the medians of the steps of some runs.
func printSteps(of string, times map[string][]float64) {
	fmt.Printf("steps of %s, medians:", of)
	for _, step := range steps {
		fmt.Printf(" %s %.2fs", step, median(times[step]))
	}
	fmt.Println()
}

// counting is a way to an S3 server on which requests are counted.
type counting struct {
	URL      string
	requests atomic.Int64
}

// newCounting passes requests on as they are; that they are signed for this address is nothing to the server.
func newCounting(t *testing.T, endpoint string) *counting {
	t.Helper()
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	c := &counting{}
	proxy := &httputil.ReverseProxy{Rewrite: func(request *httputil.ProxyRequest) {
		request.SetURL(target)
		request.Out.Host = request.In.Host
	}}
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		c.requests.Add(1)
		proxy.ServeHTTP(answer, request)
	}))
	t.Cleanup(server.Close)
	c.URL = server.URL
	return c
}
