package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestOptionsOfACommandLine(t *testing.T) {
	o, err := parseOptions([]string{"--free", "--parts", "kafka, clickhouse", "--early=kafka", "--port", "kafka=19092", "--", "go", "test", "--", "x"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := Options{
		Free: true, Parts: []string{"kafka", "clickhouse"}, Early: []string{"kafka"},
		Ports: map[string]int{"kafka": 19092}, Command: []string{"go", "test", "--", "x"},
	}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("got %+v, want %+v", o, want)
	}
	var names []string
	for _, p := range o.chosenParts() {
		names = append(names, p.Name())
	}
	if got := strings.Join(names, " "); got != "clickhouse kafka" {
		t.Errorf("parts are %q, want them in the order of the table", got)
	}
}

func TestPortsOfTheEnvironment(t *testing.T) {
	t.Setenv(portsVariable, "kafka=19092, free,s3=17070")
	o, err := parseOptions([]string{"--port", "s3=17171"}, io.Discard)
	if want := map[string]int{"kafka": 19092, "s3": 17171}; err != nil || !o.Yield || !reflect.DeepEqual(o.Ports, want) {
		t.Errorf("got %v, yields %t, %v", o.Ports, o.Yield, err)
	}
	if o, err := parseOptions([]string{"--free"}, io.Discard); err != nil || o.Yield || len(o.Ports) > 0 {
		t.Errorf("--free heeds it: %v, yields %t, %v", o.Ports, o.Yield, err)
	}
	t.Setenv(portsVariable, "s4=1")
	if _, err := parseOptions(nil, io.Discard); err == nil || !strings.HasPrefix(err.Error(), `DEVSTACK_PORTS: no port is named "s4"; there are temporal,`) {
		t.Errorf("got %v", err)
	}
}

func TestCommandLinesThatAreRefusedWithARemedy(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{"true", `unexpected argument "true": a command comes after --, as in devstack -- true`},
		{"--parts redis", `no part is named "redis"; there are temporal, clickhouse, kafka, s3, postgres`},
		{"--port s4=1", `no port is named "s4"; there are temporal, temporal-ui, clickhouse, clickhouse-http, kafka, s3, postgres`},
		{"--port kafka", `the port of kafka is "", which is no number from 1 to 65535`},
		{"--port kafka=70000", `the port of kafka is "70000", which is no number from 1 to 65535`},
		{"--port kafka=0", `the port of kafka is "0"`},
		{"--early kafka", "--early says when to start COMMAND, but there is none; give one after --"},
		{"--parts s3 --early kafka -- true", `--early names "kafka", which --parts leaves out`},
		{"--build-only -- true", "--build-only starts nothing, so it takes no COMMAND"},
		{"--build-only --installed", "--build-only builds the pinned tools, so it takes no --installed"},
		{"--free --data x", "--free uses a folder that is removed afterwards, so it takes no --data"},
		{"--fre", "see devstack --help"},
	} {
		_, err := parseOptions(strings.Fields(test.line), io.Discard)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("devstack %s: got %v, want %q", test.line, err, test.want)
		}
	}
}

func TestHelpNamesEveryPartPortAndFlagWithin100Columns(t *testing.T) {
	var out bytes.Buffer
	if _, err := parseOptions([]string{"--help"}, &out); !errors.Is(err, flag.ErrHelp) {
		t.Fatalf("got %v, want %v", err, flag.ErrHelp)
	}
	for line := range strings.Lines(out.String()) {
		if n := len(strings.TrimRight(line, "\n")); n > 100 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, part := range Parts() {
		if !strings.Contains(out.String(), part.Name()) {
			t.Errorf("the help does not name the part %s", part.Name())
		}
		for _, p := range part.Ports() {
			if !strings.Contains(out.String(), p.Name+" ("+loopback(p.Default)[len("127.0.0.1:"):]+")") {
				t.Errorf("the help does not name the port %s and its default %d", p.Name, p.Default)
			}
		}
	}
}
