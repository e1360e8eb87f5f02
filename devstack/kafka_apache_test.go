package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheEnvironmentChoosesKafka(t *testing.T) {
	for _, c := range []struct {
		kind, count string
		want        Part
	}{
		{"", "", Kafka{}},
		{"kfake", "1", Kafka{}},
		{"apache", "", ApacheKafka{Brokers: 1}},
		{"apache", "1", ApacheKafka{Brokers: 1}},
		{"apache", "3", ApacheKafka{Brokers: 3}},
		{"apache", "2", nil},
		{"apache", "three", nil},
		{"", "3", nil},
		{"Apache", "", nil},
	} {
		t.Setenv("KAFKA", c.kind)
		t.Setenv("KAFKA_BROKERS", c.count)
		got, err := chooseKafka(os.Getenv)
		if got != c.want || (err == nil) != (c.want != nil) {
			t.Errorf("KAFKA=%s KAFKA_BROKERS=%s: %v, %v; want %v", c.kind, c.count, got, err, c.want)
		}
		if _, parseErr := parseOptions(nil, &bytes.Buffer{}); (parseErr == nil) != (err == nil) {
			t.Errorf("KAFKA=%s KAFKA_BROKERS=%s: devstack says %v", c.kind, c.count, parseErr)
		}
	}
}

func TestThreeNodesKeepEverythingThreeTimes(t *testing.T) {
	k := ApacheKafka{Brokers: 3}
	site := Site{Dir: t.TempDir(), Ports: map[string]int{}}
	for _, p := range k.Ports() {
		site.Ports[p.Name] = p.Default
	}
	if got := k.Variables(site)[0].Value; got != "127.0.0.1:9092,127.0.0.1:9093,127.0.0.1:9094" {
		t.Errorf("addresses %s", got)
	}
	properties := k.properties(site, site.Dir, 2)
	for _, want := range []string{
		"node.id=2\n", "controller.quorum.voters=1@127.0.0.1:9192,2@127.0.0.1:9193,3@127.0.0.1:9194\n",
		"listeners=PLAINTEXT://127.0.0.1:9093,CONTROLLER://127.0.0.1:9193\n",
		"default.replication.factor=3\n", "min.insync.replicas=2\n", "offsets.topic.replication.factor=3\n", "transaction.state.log.min.isr=2\n",
	} {
		if !strings.Contains(properties, want) {
			t.Errorf("%q is not in\n%s", want, properties)
		}
	}
}

func TestJavaAndMavenAreAskedForByName(t *testing.T) {
	tool := ApacheKafka{Brokers: 1}.Tools()[0]
	repo, err := findRepo()
	if err != nil {
		t.Fatal(err)
	}
	key, err := tool.Key(repo)
	if err != nil || !strings.HasPrefix(key, "kafka-4.3.1-") {
		t.Errorf("key %q, %v", key, err)
	}
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	for _, c := range []struct{ program, want string }{
		{"java", "the java command is not on PATH; KAFKA=apache runs the genuine Kafka, which needs Java 17 or newer"},
		{"mvn", "the mvn command is not on PATH; install Maven 3.8 or newer, which gets the genuine Kafka"},
	} {
		if err := tool.Build(t.Context(), repo, t.TempDir(), nil); err == nil || err.Error() != c.want {
			t.Errorf("without %s: %v", c.program, err)
		}
		if err := os.WriteFile(filepath.Join(bin, c.program), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheClusterKeepsItsID(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cluster-id")
	first, err := clusterID(file)
	if err != nil || len(first) != 22 {
		t.Fatalf("%q, %v", first, err)
	}
	if again, err := clusterID(file); err != nil || again != first {
		t.Errorf("first %q, then %q, %v", first, again, err)
	}
}
