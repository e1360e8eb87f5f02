//go:build world && apache

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// startApache starts three nodes in the folder, and returns with their process ids.
func startApache(t *testing.T, dir string, flags ...string) (u *up, pids map[string]int) {
	t.Helper()
	t.Setenv("KAFKA", "apache")
	t.Setenv("KAFKA_BROKERS", "3")
	ports, held, err := freePorts(t.TempDir(), []Part{ApacheKafka{Brokers: 3}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	held.Close()
	flags = append(flags, "--parts", "kafka", "--data", dir)
	for name, port := range ports {
		flags = append(flags, "--port", fmt.Sprintf("%s=%d", name, port))
	}
	u = start(t, flags, `echo begun; read answer; exit $answer`)
	pids = u.pids()
	for node := 1; node <= 3; node++ {
		text, err := os.ReadFile(pidFile(filepath.Join(dir, "kafka", "apache-3"), node))
		if err != nil {
			t.Fatal(err)
		}
		if pids[clientPort(node)+" node"], err = strconv.Atoi(string(text)); err != nil {
			t.Fatal(err)
		}
	}
	return u, pids
}

func apacheClient(t *testing.T, u *up, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	addresses := strings.Split(u.record.Environment["MILLRACE_KAFKA_BROKERS"], ",")
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(addresses...))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func TestThreeNodesAreTakenDownInTimeAndKeepWhatTheyHave(t *testing.T) {
	dir := t.TempDir()
	u, pids := startApache(t, dir)
	client := apacheClient(t, u)
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "kept", 1, -1 // the broker's own
	request := kmsg.NewPtrCreateTopicsRequest()
	request.Topics = append(request.Topics, topic)
	made, err := request.RequestWith(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	if got := made.Topics[0]; got.ErrorCode != 0 || got.ReplicationFactor != 3 {
		t.Fatalf("code %d, replication factor %d", got.ErrorCode, got.ReplicationFactor)
	}
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "kept", Value: []byte("still here")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	fmt.Fprintln(u.in, "7")
	if code := u.exitCode(); code != 7 {
		t.Errorf("exit code %d\n%s", code, u.out)
	}
	took := time.Since(began)
	t.Logf("taken down in %s", took)
	if took > stopWithin {
		t.Errorf("taken down in %s, more than %s", took, stopWithin)
	}
	u.wantAllGone(pids)

	u, pids = startApache(t, dir)
	client = apacheClient(t, u, kgo.ConsumeTopics("kept"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	fetched := client.PollFetches(t.Context())
	if err := fetched.Err(); err != nil {
		t.Fatal(err)
	}
	if records := fetched.Records(); len(records) != 1 || string(records[0].Value) != "still here" {
		t.Errorf("records %v", records)
	}
	_ = u.cmd.Process.Signal(syscall.SIGKILL)
	u.wantAllGone(pids)
}

func TestANodeThatDiesIsNamedWithItsLog(t *testing.T) {
	u, pids := startApache(t, t.TempDir())
	if err := syscall.Kill(pids["kafka-2 node"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code := u.exitCode(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	u.wantAllGone(pids)
	for _, want := range []string{"kafka died while the world was up", "node 2 ended: signal: killed", "Kafka Server started"} {
		if !strings.Contains(u.out.String(), want) {
			t.Errorf("%q is not in\n%s", want, u.out)
		}
	}
}

// A node that was killed on purpose stays down as long as is wanted, comes back with what it had, and the world stays up.
func TestANodeThatIsWantedDownComesBackWithTheThreeNodesOfItsWorld(t *testing.T) {
	dir := t.TempDir()
	u, pids := startApache(t, dir)
	client := apacheClient(t, u)
	nodes := filepath.Join(dir, "kafka", "apache-3")
	if err := os.WriteFile(downFile(nodes, 2), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	killed := pids["kafka-2 node"]
	if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitNodes(u, client, 2)
	if err := os.Remove(downFile(nodes, 2)); err != nil {
		t.Fatal(err)
	}
	awaitNodes(u, client, 3)
	text, err := os.ReadFile(pidFile(nodes, 2))
	if err != nil {
		t.Fatal(err)
	}
	if pids["kafka-2 node"], err = strconv.Atoi(string(text)); err != nil || pids["kafka-2 node"] == killed {
		t.Errorf("its process is said to be %q, error %v; the killed one was %d", text, err, killed)
	}

	// Also a node that is down does not hold the end up.
	if err := os.WriteFile(downFile(nodes, 3), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pids["kafka-3 node"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitNodes(u, client, 2)
	fmt.Fprintln(u.in, "7")
	if code := u.exitCode(); code != 7 {
		t.Errorf("exit code %d\n%s", code, u.out)
	}
	u.wantAllGone(pids)
}

// awaitNodes waits until the cluster itself counts so many nodes.
func awaitNodes(u *up, client *kgo.Client, want int) {
	u.t.Helper()
	u.await(fmt.Sprintf("the cluster to have %d nodes", want), func() bool {
		request := kmsg.NewPtrMetadataRequest()
		request.Topics = []kmsg.MetadataRequestTopic{} // none; nil would ask for all
		answer, err := request.RequestWith(u.t.Context(), client)
		return err == nil && len(answer.Brokers) == want
	})
}
