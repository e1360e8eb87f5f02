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

// node is one Kafka process after another, in the process group of the part, whose output goes to a file of its own.
type node struct {
	java, jars, dir string // dir is of all nodes
	number          int
	log             string

	mu      sync.Mutex // held while a process is started
	process *os.Process
	leave   chan struct{} // closed when no more is to be started
	ended   chan struct{} // closed when the last one has ended
}

// runServeApacheKafka serves until SIGTERM or SIGINT, or until a node ends that nobody has asked to, which is an error
// with the node's last lines.
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

	failed := make(chan error, count)
	var nodes []*node
	// What a node wrote outlives SIGKILL, so when one has died the others are not waited for.
	grace := time.Duration(0)
	defer func() { stopNodes(nodes, grace) }()
	for number := 1; number <= count; number++ {
		if err := os.Remove(downFile(dir, number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget that node %d was to stay down: %w", number, err)
		}
		n := &node{
			java: java, jars: jars, dir: dir, number: number, log: filepath.Join(nodeDir(dir, number), "kafka.log"),
			leave: make(chan struct{}), ended: make(chan struct{}),
		}
		cmd, err := n.start()
		if err != nil {
			return err
		}
		nodes = append(nodes, n)
		go func() {
			defer close(n.ended)
			if err := n.keep(cmd); err != nil {
				failed <- err
			}
		}()
	}
	select {
	case <-stop:
		grace = nodesStopWithin
		return nil
	case err := <-failed:
		return err
	}
}

// keep starts the node anew after each end that was asked for. It returns nil when the node is stopped.
func (n *node) keep(cmd *exec.Cmd) error {
	for cmd != nil { // start gives none when the node is stopped
		_ = cmd.Wait() // how it ended is in its ProcessState
		if _, err := os.Stat(downFile(n.dir, n.number)); err != nil && !n.isLeaving() {
			return fmt.Errorf("node %d ended: %s; the last lines of its log %s:\n%s", n.number, cmd.ProcessState, n.log, indent(lastLines(n.log, 10)))
		}
		if !n.awaitUp() {
			return nil
		}
		var err error
		if cmd, err = n.start(); err != nil {
			return err
		}
	}
	return nil
}

// awaitUp waits until nobody wants the node to be down; false when it is stopped before.
func (n *node) awaitUp() bool {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		if _, err := os.Stat(downFile(n.dir, n.number)); errors.Is(err, fs.ErrNotExist) {
			return true
		}
		select {
		case <-n.leave:
			return false
		case <-again.C:
		}
	}
}

func (n *node) isLeaving() bool {
	select {
	case <-n.leave:
		return true
	default:
		return false
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

// start starts the process and tells its number; nil when the node is stopped.
func (n *node) start() (*exec.Cmd, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.isLeaving() {
		return nil, nil
	}
	out, err := os.OpenFile(n.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the log of node %d: %w", n.number, err)
	}
	defer out.Close()
	cmd := exec.Command(n.java, "-Xms64m", "-Xmx192m", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:MaxMetaspaceSize=128m", "-XX:+ExitOnOutOfMemoryError",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
		"-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
		"-cp", n.jars, "kafka.Kafka", propertiesFile(n.dir, n.number))
	cmd.Dir = nodeDir(n.dir, n.number)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = groupAttributes()
	if err := spawn(cmd); err != nil {
		return nil, fmt.Errorf("start node %d: %w", n.number, err)
	}
	n.process = cmd.Process
	if err := replaceFile(pidFile(n.dir, n.number), []byte(strconv.Itoa(cmd.Process.Pid))); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("tell the process of node %d: %w", n.number, err)
	}
	return cmd, nil
}

// pidFile is for whoever kills or stops a node on purpose.
func pidFile(dir string, number int) string { return filepath.Join(nodeDir(dir, number), "pid") }

// downFile is made by whoever is about to kill a node and does not want the world to end: the node stays down while the
// file is there, and is started anew when it is removed.
func downFile(dir string, number int) string { return filepath.Join(nodeDir(dir, number), "down") }

// stopNodes ends all nodes: by SIGTERM and, those that are there after grace, by SIGKILL.
func stopNodes(nodes []*node, grace time.Duration) {
	for _, n := range nodes {
		n.mu.Lock()
		close(n.leave)
		n.mu.Unlock()
		if grace > 0 {
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

// signal tells the present process; one that has ended has nothing to be told.
func (n *node) signal(s syscall.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_ = n.process.Signal(s)
}
