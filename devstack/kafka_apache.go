package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The environment variables that choose what the Kafka part is. Flags would not reach the devstack that `make` starts.
const (
	kafkaVariable        = "KAFKA"
	kafkaBrokersVariable = "KAFKA_BROKERS"
)

// chooseKafka is the Kafka part that the environment asks for, or an error that says what may be asked for.
func chooseKafka(environment func(string) string) (Part, error) {
	kind, count := environment(kafkaVariable), environment(kafkaBrokersVariable)
	switch {
	case kind == "apache" && (count == "" || count == "1"):
		return ApacheKafka{Brokers: 1}, nil
	case kind == "apache" && count == "3":
		return ApacheKafka{Brokers: 3}, nil
	case kind == "apache":
		return nil, fmt.Errorf("%s is %q: the genuine Kafka is run with 1 broker or 3", kafkaBrokersVariable, count)
	case kind != "" && kind != "kfake":
		return nil, fmt.Errorf("%s is %q, which is no Kafka that devstack has: set it to apache or kfake, or leave it out", kafkaVariable, kind)
	case count != "" && count != "1":
		return nil, fmt.Errorf("%s is %q, but kfake is one broker: set %s=apache too", kafkaBrokersVariable, count, kafkaVariable)
	default:
		return Kafka{}, nil
	}
}

// ApacheKafka is the genuine broker from Maven, each node broker and controller in one (KRaft). A process of this
// same program holds the nodes together as one part.
type ApacheKafka struct {
	Brokers int // 1, or 3 with everything replicated to all and two replicas in sync for each record
}

// Name implements Part.
func (ApacheKafka) Name() string { return "kafka" }

// Ports implements Part: one for clients and one for controllers, for each node.
func (k ApacheKafka) Ports() []Port {
	const client, controller = 9092, 9192
	var ports []Port
	for node := 1; node <= k.Brokers; node++ {
		ports = append(ports, Port{Name: clientPort(node), Default: client + node - 1}, Port{Name: controllerPort(node), Default: controller + node - 1})
	}
	return ports
}

// clientPort is "kafka" for the first node, as kfake has it, then "kafka-2", "kafka-3".
func clientPort(node int) string {
	if node == 1 {
		return "kafka"
	}
	return "kafka-" + strconv.Itoa(node)
}

func controllerPort(node int) string { return "kafka-controller-" + strconv.Itoa(node) }

// Tools implements Part.
func (ApacheKafka) Tools() []Tool {
	return []Tool{MavenTool{Jars: "kafka", Folder: "tools/kafka", Artifact: "kafka_2.13"}}
}

// Command implements Part.
func (k ApacheKafka) Command(site Site) (Command, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return Command{}, errNoJava
	}
	self, err := ownProgram()
	if err != nil {
		return Command{}, err
	}
	// One node's state is of no use to three.
	dir := filepath.Join(site.Dir, fmt.Sprintf("apache-%d", k.Brokers))
	for node := 1; node <= k.Brokers; node++ {
		if err := os.MkdirAll(nodeDir(dir, node), 0o755); err != nil {
			return Command{}, err
		}
		if err := os.WriteFile(propertiesFile(dir, node), []byte(k.properties(site, dir, node)), 0o644); err != nil {
			return Command{}, err
		}
	}
	return Command{Program: self, Args: []string{serveApacheKafka, java, site.Tools["kafka"], dir, strconv.Itoa(k.Brokers)}}, nil
}

var errNoJava = fmt.Errorf("the java command is not on PATH; %s=apache runs the genuine Kafka, which needs Java 17 or newer", kafkaVariable)

func nodeDir(dir string, node int) string { return filepath.Join(dir, "node-"+strconv.Itoa(node)) }

func propertiesFile(dir string, node int) string {
	return filepath.Join(nodeDir(dir, node), "server.properties")
}

// properties is a node's configuration: what a careful operator sets, with little memory, and with timeouts by which a
// killed node is back in some 4 s instead of 13 to 17.
func (k ApacheKafka) properties(site Site, dir string, node int) string {
	var voters []string
	for voter := 1; voter <= k.Brokers; voter++ {
		voters = append(voters, fmt.Sprintf("%d@%s", voter, site.Addr(controllerPort(voter))))
	}
	replicas, inSync := strconv.Itoa(k.Brokers), strconv.Itoa(min(2, k.Brokers))
	var b strings.Builder
	for _, p := range [][2]string{
		{"process.roles", "broker,controller"},
		{"node.id", strconv.Itoa(node)},
		{"controller.quorum.voters", strings.Join(voters, ",")},
		{"listeners", "PLAINTEXT://" + site.Addr(clientPort(node)) + ",CONTROLLER://" + site.Addr(controllerPort(node))},
		{"advertised.listeners", "PLAINTEXT://" + site.Advertised(clientPort(node))},
		{"listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"},
		{"controller.listener.names", "CONTROLLER"},
		{"inter.broker.listener.name", "PLAINTEXT"},
		{"log.dirs", filepath.ToSlash(filepath.Join(nodeDir(dir, node), "data"))},

		// As kfake is set here.
		{"auto.create.topics.enable", "false"},
		{"num.partitions", "8"},
		{"group.min.session.timeout.ms", "1000"},

		{"default.replication.factor", replicas},
		{"min.insync.replicas", inSync},
		{"offsets.topic.replication.factor", replicas},
		{"offsets.topic.num.partitions", "1"},
		{"transaction.state.log.replication.factor", replicas},
		{"transaction.state.log.min.isr", inSync},
		{"transaction.state.log.num.partitions", "1"},

		{"group.initial.rebalance.delay.ms", "0"},
		{"broker.session.timeout.ms", "1500"},
		{"broker.heartbeat.interval.ms", "250"},
		{"controller.quorum.election.timeout.ms", "500"},
		{"controller.quorum.fetch.timeout.ms", "1000"},

		{"log.segment.bytes", "16777216"},
		{"log.cleaner.dedupe.buffer.size", "16777216"},
		{"log.cleaner.threads", "1"},
		{"num.network.threads", "1"},
		{"num.io.threads", "2"},
	} {
		b.WriteString(p[0] + "=" + p[1] + "\n")
	}
	return b.String()
}

// Ready implements Part: every node answers a metadata request, and knows of all of them.
func (k ApacheKafka) Ready(ctx context.Context, site Site) error {
	for node := 1; node <= k.Brokers; node++ {
		if err := k.knowsAll(ctx, site.Addr(clientPort(node))); err != nil {
			return fmt.Errorf("ask node %d: %w", node, err)
		}
	}
	return nil
}

func (k ApacheKafka) knowsAll(ctx context.Context, address string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer client.Close()
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = []kmsg.MetadataRequestTopic{} // none; nil would ask for all
	answer, err := request.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	if len(answer.Brokers) != k.Brokers {
		return fmt.Errorf("it knows %d of %d brokers", len(answer.Brokers), k.Brokers)
	}
	return nil
}

// Variables implements Part.
func (k ApacheKafka) Variables(site Site) []Variable {
	var addresses []string
	for node := 1; node <= k.Brokers; node++ {
		addresses = append(addresses, site.Addr(clientPort(node)))
	}
	return []Variable{{"MILLRACE_KAFKA_BROKERS", strings.Join(addresses, ",")}}
}

// MavenTool is a folder of jars, pinned by a pom.xml of ours that does nothing else.
type MavenTool struct {
	Jars     string // the word in messages
	Folder   string // of the pom.xml, from the repository's root
	Artifact string // whose version names the folder
}

// Name implements Tool.
func (t MavenTool) Name() string { return t.Jars }

// Key implements Tool. Jars are the same on all platforms.
func (t MavenTool) Key(repo string) (string, error) {
	pom, err := os.ReadFile(t.pom(repo))
	if err != nil {
		return "", fmt.Errorf("read which version of %s is wanted: %w", t.Jars, err)
	}
	version := artifactVersion(string(pom), t.Artifact)
	if version == "" {
		return "", fmt.Errorf("find %s in %s/pom.xml: no version is given there", t.Artifact, t.Folder)
	}
	return strings.Join([]string{t.Jars, version, contentHash(pom)}, "-"), nil
}

func (t MavenTool) pom(repo string) string { return filepath.Join(repo, t.Folder, "pom.xml") }

// artifactVersion is the version on the line after the artifact's name, or "".
func artifactVersion(pom, artifact string) string {
	_, after, found := strings.Cut(pom, "<artifactId>"+artifact+"</artifactId>")
	if !found {
		return ""
	}
	after, found = strings.CutPrefix(strings.TrimSpace(after), "<version>")
	if !found {
		return ""
	}
	version, _, _ := strings.Cut(after, "</version>")
	return version
}

// Build implements Tool.
func (t MavenTool) Build(ctx context.Context, repo, dir string, progress *Progress) error {
	if _, err := exec.LookPath("java"); err != nil {
		return errNoJava
	}
	program, err := exec.LookPath("mvn")
	if err != nil {
		return errors.New("the mvn command is not on PATH; install Maven 3.8 or newer, which gets the genuine Kafka")
	}
	pom, err := os.ReadFile(t.pom(repo))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "pom.xml"), pom, 0o644); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, "-q", "-B", "dependency:copy-dependencies")
	cmd.Dir = dir
	cmd.Env = overlay(os.Environ(), []Variable{{"PWD", dir}})
	return progress.Run(cmd)
}

// File implements Tool: the folder of the jars.
func (t MavenTool) File(dir string) string { return filepath.Join(dir, "libs") }
