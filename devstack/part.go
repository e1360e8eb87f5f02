package main

import (
	"context"
	"maps"
	"os"
	"time"
)

// Part is one system of the outside world that Millrace talks to. A part says what it needs and how it is
// started and asked; World does the rest, the same for all. Methods are called from one goroutine at a time
// for a part, and do not keep what they are given.
type Part interface {
	// Name is the word used in flags, messages and folders: "temporal", "clickhouse", …
	Name() string

	// Ports are the addresses the part listens on, all on loopback.
	Ports() []Port

	// Tools are what has to be built or installed before the part can start.
	Tools() []Tool

	// Command says how to start the part. It may write configuration into site.Dir, which exists.
	// The process it describes must stay in the foreground and end on SIGTERM.
	Command(site Site) (Command, error)

	// Ready is one attempt to use the part as a client does, and finishes what only a running part can be
	// given (a database, a bucket). It is repeated until it answers nil, and again after each start: it
	// must do no harm the second time.
	Ready(ctx context.Context, site Site) error

	// Variables are the addresses as COMMAND sees them.
	Variables(site Site) []Variable
}

// Port is one address of a part: a name that is unique in the world, and the port it has for people.
type Port struct {
	Name    string
	Default int
	Scheme  string // how a person would write the address: "http", or "" for a bare host:port
}

// Site is where a part lives in one world: its folder, its ports and its tools.
type Site struct {
	Dir   string            // for configuration and state, of this part alone
	Ports map[string]int    // of all parts of the world, by Port.Name
	Tools map[string]string // file of each tool, by Tool.Name

	// Installed are the tools that are the machine's own instead of ours, if any.
	Installed map[string]Installed
}

// Addr is the host:port of the named port.
func (s Site) Addr(port string) string { return loopback(s.Ports[port]) }

// Advertised is the host:port of the named port as COMMAND sees it: the proxy's, if there is one.
func (s Site) Advertised(port string) string {
	if _, proxied := s.Ports[proxyPort(port)]; proxied {
		return s.Addr(proxyPort(port))
	}
	return s.Addr(port)
}

// seen is the site as COMMAND sees it.
func (s Site) seen() Site {
	ports := maps.Clone(s.Ports)
	for port := range s.Ports {
		if proxy, proxied := s.Ports[proxyPort(port)]; proxied {
			ports[port] = proxy
		}
	}
	s.Ports = ports
	return s
}

// Command is a process to be: program, arguments, and environment beyond devstack's own.
type Command struct {
	Program string
	Args    []string
	Env     []Variable

	// Grace is how long the process gets after SIGTERM in a throw-away world, before SIGKILL: nothing, unless being killed
	// would leave something behind outside the world's folder.
	Grace time.Duration
}

// Parts are all parts of the world, in the order of the table. New ones join here. Which Kafka and which S3 it is, the
// environment says; where what it says makes no sense, parseOptions has refused to go on.
func Parts() []Part {
	kafka, err := chooseKafka(os.Getenv)
	if err != nil {
		kafka = Kafka{}
	}
	s3, err := chooseS3(os.Getenv)
	if err != nil {
		s3 = S3{}
	}
	return []Part{Temporal{}, ClickHouse{}, kafka, s3, Postgres{}}
}

// PartNames are the names that --parts and --early take.
func PartNames() []string {
	var names []string
	for _, p := range Parts() {
		names = append(names, p.Name())
	}
	return names
}
