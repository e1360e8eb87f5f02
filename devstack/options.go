package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Options are what devstack's command line says.
type Options struct {
	Data      string         // folder for state; "" for the default
	Free      bool           // free ports and a throw-away folder
	Parts     []string       // which parts to start; all if nil
	Early     []string       // COMMAND starts when these answer; all of Parts if nil
	Ports     map[string]int // by Port.Name, over the defaults
	Yield     bool           // a free port for each that is taken
	BuildOnly bool
	Installed bool // prefer a fit program on PATH to building ours
	Revive    bool // a part that dies is started again
	Toxiproxy bool // COMMAND reaches the parts by way of Toxiproxy
	Command   []string
}

const usage = `devstack starts the systems that Millrace talks to, without Docker and without root:
Temporal with its UI, ClickHouse, Kafka, S3 and Postgres, all on loopback.

Usage:
  devstack [flags]                      start the world and keep it up until Ctrl-C
  devstack [flags] -- COMMAND [ARGS]    run COMMAND in the world, then take the world down

COMMAND gets the addresses as environment variables and the pinned tools (temporal) on its PATH.
devstack ends with COMMAND's exit code. On Ctrl-C and SIGTERM, COMMAND gets the signal first and
100 s to end; a second signal ends it at once.

Flags:
  --free              choose free ports and a folder that is removed afterwards; any number of such
                      worlds can be up side by side
  --data DIR          keep state in DIR (default: .devstack/data in the repository); the next start
                      with the same folder finds everything as it was left
  --parts LIST        start only these parts, separated by commas: temporal, clickhouse, kafka, s3,
                      postgres
  --early LIST        start COMMAND as soon as these parts answer. The addresses of the others are
                      in its environment already; they come up when their tools are built
  --port NAME=N       use port N for NAME: temporal (7233), temporal-ui (8233), clickhouse (9000),
                      clickhouse-http (8123), kafka (9092), s3 (7070), postgres (5432); may be
                      repeated. Proxies are toxiproxy (8474) and NAME-proxy, 20000 above NAME
  --installed         use the temporal on PATH, if its server is 1.29 or newer, and do not build the
                      pinned one; the table names it
  --revive            start a part that dies again, in its folder and on its ports, instead of
                      taking the world down: for tests that kill parts on purpose
  --toxiproxy         put Toxiproxy in front of every part, and give COMMAND its addresses, so that
                      tests can cut lines and slow them down; its API is at DEVSTACK_TOXIPROXY_URL
  --build-only        build and install the tools that --parts need, print where they are, and end

Environment:
  DEVSTACK_PORTS      as --port, several separated by commas, for a devstack that make starts:
                      DEVSTACK_PORTS=kafka=9192,s3=7171. The word free among them, or alone, takes a
                      free port for each that is taken. Not heeded with --free
  KAFKA=apache        run the genuine Apache Kafka 4.3.1 instead of kfake; needs Java 17 and Maven
  KAFKA_BROKERS=3     run three of them, everything replicated to all, two replicas in sync for each
                      record; on the ports kafka (9092), kafka-2 (9093), kafka-3 (9094), and
                      kafka-controller-1 (9192) to -3 (9194)
  S3=minio            run MinIO instead of versitygw: it encrypts, gives out temporary credentials,
                      and knows buckets by their host names

The first start on a machine builds temporal and versitygw and installs ClickHouse's engine and
Postgres, side by side; that takes some minutes and 5 GB at most, most of it Go's caches. The
results are kept in the user's cache folder, or in $MILLRACE_CACHE.

Examples:
  devstack
  devstack --free -- go test -tags world ./...
  devstack --parts clickhouse,s3 -- bash
`

// parseOptions reads the command line. It returns flag.ErrHelp after printing the help to out.
func parseOptions(args []string, out io.Writer) (Options, error) {
	o := Options{Ports: map[string]int{}}
	set := flag.NewFlagSet("devstack", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&o.Data, "data", "", "")
	set.BoolVar(&o.Free, "free", false, "")
	set.BoolVar(&o.Installed, "installed", false, "")
	set.BoolVar(&o.Revive, "revive", false, "")
	set.BoolVar(&o.Toxiproxy, "toxiproxy", false, "")
	set.BoolVar(&o.BuildOnly, "build-only", false, "")
	set.Func("parts", "", func(s string) (err error) { o.Parts, err = parseParts(s); return err })
	set.Func("early", "", func(s string) (err error) { o.Early, err = parseParts(s); return err })
	set.Func("port", "", func(s string) error { return parsePort(s, o.Ports) })
	switch err := set.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, usage)
		return o, err
	case err != nil:
		return o, fmt.Errorf("%w; see devstack --help", err)
	}
	if _, err := chooseKafka(os.Getenv); err != nil {
		return o, err
	}
	if _, err := chooseS3(os.Getenv); err != nil {
		return o, err
	}
	if !o.Free {
		if err := o.readPorts(os.Getenv(portsVariable)); err != nil {
			return o, fmt.Errorf("%s: %w", portsVariable, err)
		}
	}
	o.Command = set.Args()
	if len(o.Command) > 0 && !slices.Contains(args, "--") {
		return o, fmt.Errorf("unexpected argument %q: a command comes after --, as in devstack -- %s", o.Command[0], strings.Join(o.Command, " "))
	}
	return o, o.check()
}

func (o Options) check() error {
	for _, early := range o.Early {
		if o.Parts != nil && !slices.Contains(o.Parts, early) {
			return fmt.Errorf("--early names %q, which --parts leaves out", early)
		}
	}
	switch {
	case o.Early != nil && len(o.Command) == 0:
		return errors.New("--early says when to start COMMAND, but there is none; give one after --")
	case o.BuildOnly && o.Installed:
		return errors.New("--build-only builds the pinned tools, so it takes no --installed")
	case o.BuildOnly && len(o.Command) > 0:
		return errors.New("--build-only starts nothing, so it takes no COMMAND")
	case o.Free && o.Data != "":
		return errors.New("--free uses a folder that is removed afterwards, so it takes no --data")
	}
	return nil
}

func parseParts(list string) ([]string, error) {
	var parts []string
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); !slices.Contains(PartNames(), name) {
			return nil, fmt.Errorf("no part is named %q; there are %s", name, strings.Join(PartNames(), ", "))
		}
		parts = append(parts, name)
	}
	return parts, nil
}

// portsVariable is the environment variable that moves ports, and yieldWord what stands in it for a free port in the place
// of each that is taken.
const (
	portsVariable = "DEVSTACK_PORTS"
	yieldWord     = "free"
)

// readPorts reads what the environment says of ports. The command line wins.
func (o *Options) readPorts(list string) error {
	ports := map[string]int{}
	for entry := range strings.SplitSeq(list, ",") {
		switch entry = strings.TrimSpace(entry); entry {
		case "":
		case yieldWord:
			o.Yield = true
		default:
			if err := parsePort(entry, ports); err != nil {
				return err
			}
		}
	}
	for name, number := range ports {
		if _, given := o.Ports[name]; !given {
			o.Ports[name] = number
		}
	}
	return nil
}

func parsePort(text string, into map[string]int) error {
	var names []string
	for _, part := range append(Parts(), Toxiproxy{Behind: Parts()}) {
		for _, p := range part.Ports() {
			names = append(names, p.Name)
		}
	}
	name, number, _ := strings.Cut(text, "=")
	if !slices.Contains(names, name) {
		return fmt.Errorf("no port is named %q; there are %s", name, strings.Join(names, ", "))
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("the port of %s is %q, which is no number from 1 to 65535", name, number)
	}
	into[name] = int(n)
	return nil
}

// chosenParts are the parts that the options name, in the order of the table.
func (o Options) chosenParts() []Part {
	var chosen []Part
	for _, p := range Parts() {
		if o.Parts == nil || slices.Contains(o.Parts, p.Name()) {
			chosen = append(chosen, p)
		}
	}
	if o.Toxiproxy {
		chosen = append(chosen, Toxiproxy{Behind: chosen})
	}
	return chosen
}
