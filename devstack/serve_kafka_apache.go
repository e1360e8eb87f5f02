package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// serveApacheKafka is the hidden sub-command whose process starts the nodes of the genuine Kafka and is, to devstack,
// the one process of the part.
const serveApacheKafka = "serve-apache-kafka"

// nodesStopWithin is less than stopWithin. Of three nodes that are told to end at once, the last waits for a quorum
// that is gone: it is killed.
const nodesStopWithin = 6 * time.Second

// node is one Kafka process, in the process group of the part, whose output goes to a file of its own.
type node struct {
	number int
	log    string
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the process has ended
}

// runServeApacheKafka serves until SIGTERM or SIGINT, or until a node ends, which is an error with the node's last
// lines.
func runServeApacheKafka(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("want java, a folder of jars, a folder of nodes and their number, got %q", args)
	}
	java, jars, dir := args[0], filepath.Join(args[1], "*"), args[2]
	count, err := strconv.Atoi(args[3])
	if err != nil {
		return fmt.Errorf("read the number of nodes: %w", err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	if err := formatNodes(java, jars, dir, count); err != nil {
		return err
	}

	ended := make(chan *node, count)
	var nodes []*node
	// What a node wrote outlives SIGKILL, so when one has died the others are not waited for.
	grace := time.Duration(0)
	defer func() { stopNodes(nodes, grace) }()
	for number := 1; number <= count; number++ {
		n, err := startNode(java, jars, dir, number)
		if err != nil {
			return fmt.Errorf("start node %d: %w", number, err)
		}
		nodes = append(nodes, n)
		go func() {
			_ = n.cmd.Wait() // how it ended is in its ProcessState
			close(n.ended)
			ended <- n
		}()
		if err := replaceFile(pidFile(dir, number), []byte(strconv.Itoa(n.cmd.Process.Pid))); err != nil {
			return fmt.Errorf("tell the process of node %d: %w", number, err)
		}
	}
	select {
	case <-stop:
		grace = nodesStopWithin
		return nil
	case n := <-ended:
		return fmt.Errorf("node %d ended: %s; the last lines of its log %s:\n%s", n.number, n.cmd.ProcessState, n.log, indent(lastLines(n.log, 10)))
	}
}

// formatNodes gives the nodes their folders and the id of their cluster, once. A format that was killed is done again.
func formatNodes(java, jars, dir string, count int) error {
	cluster, err := clusterID(filepath.Join(dir, "cluster-id"))
	if err != nil {
		return fmt.Errorf("choose the cluster's id: %w", err)
	}
	errs := make([]error, count)
	var all sync.WaitGroup
	for i := range count {
		all.Go(func() { errs[i] = formatNode(java, jars, dir, i+1, cluster) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func formatNode(java, jars, dir string, number int, cluster string) error {
	done := filepath.Join(nodeDir(dir, number), "formatted")
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	cmd := exec.Command(java, "-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", jars,
		"kafka.tools.StorageTool", "format", "-t", cluster, "-c", propertiesFile(dir, number), "--ignore-formatted")
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = groupAttributes()
	err := spawn(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("format node %d: %w\n%s", number, err, out)
	}
	return os.WriteFile(done, nil, 0o644)
}

// clusterID is the id in the file, which is made with a new one if it is not there.
func clusterID(file string) (string, error) {
	content, err := os.ReadFile(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return string(content), err
	}
	for {
		var id [16]byte
		if _, err := rand.Read(id[:]); err != nil {
			return "", err
		}
		// Kafka writes ids so; one that begins with a dash would be taken for an option.
		if text := base64.RawURLEncoding.EncodeToString(id[:]); text[0] != '-' {
			return text, replaceFile(file, []byte(text))
		}
	}
}

func startNode(java, jars, dir string, number int) (*node, error) {
	n := &node{number: number, log: filepath.Join(nodeDir(dir, number), "kafka.log"), ended: make(chan struct{})}
	out, err := os.OpenFile(n.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	defer out.Close()
	n.cmd = exec.Command(java, "-Xms64m", "-Xmx192m", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:MaxMetaspaceSize=128m", "-XX:+ExitOnOutOfMemoryError",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
		"-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
		"-cp", jars, "kafka.Kafka", propertiesFile(dir, number))
	n.cmd.Dir = nodeDir(dir, number)
	n.cmd.Stdout, n.cmd.Stderr = out, out
	n.cmd.SysProcAttr = groupAttributes()
	return n, spawn(n.cmd)
}

// pidFile is for whoever kills or stops a node on purpose.
func pidFile(dir string, number int) string { return filepath.Join(nodeDir(dir, number), "pid") }

// stopNodes ends all nodes: by SIGTERM and, those that are there after grace, by SIGKILL.
func stopNodes(nodes []*node, grace time.Duration) {
	if grace > 0 {
		for _, n := range nodes {
			n.signal(syscall.SIGTERM)
		}
	}
	late := time.After(grace)
	for _, n := range nodes {
		select {
		case <-n.ended:
			continue
		case <-late:
		}
		for _, other := range nodes {
			other.signal(syscall.SIGKILL)
		}
		break
	}
	for _, n := range nodes {
		<-n.ended
	}
}

func (n *node) signal(s syscall.Signal) { _ = n.cmd.Process.Signal(s) } // one that has ended has nothing to be told
