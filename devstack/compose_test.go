package main

import (
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// A person may choose either world, and the product must not know which.
func TestComposeFileOffersTheSamePortsAndVariables(t *testing.T) {
	project := loadCompose(t)

	for _, part := range Parts() {
		service, err := project.GetService(part.Name())
		if err != nil {
			t.Errorf("docker-compose.yml has no service for the part %s: %v", part.Name(), err)
			continue
		}
		var want, got []string
		for _, p := range part.Ports() {
			want = append(want, strconv.Itoa(p.Default))
		}
		for _, p := range service.Ports {
			got = append(got, p.Published)
			if p.HostIP != "127.0.0.1" {
				t.Errorf("docker-compose.yml publishes port %s of %s on %q; only loopback is allowed", p.Published, part.Name(), p.HostIP)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(want, got) {
			t.Errorf("docker-compose.yml publishes the ports %v of %s; devstack has %v", got, part.Name(), want)
		}
	}

	millrace, err := project.GetService("millrace")
	if err != nil {
		t.Fatal(err)
	}
	want := peoplesVariables(t)
	for name, value := range want {
		got := millrace.Environment[name]
		if got == nil {
			t.Errorf("docker-compose.yml does not give %s to millrace; devstack does", name)
		} else if seen := fromThisMachine(*got); seen != value {
			t.Errorf("docker-compose.yml: %s is %q, seen from this machine %q; devstack says %q", name, *got, seen, value)
		}
	}
	// What tells the product about itself is not the world's.
	own := []string{"MILLRACE_CONFIG", "MILLRACE_LISTEN"}
	for name := range millrace.Environment {
		if _, ok := want[name]; !ok && !slices.Contains(own, name) {
			t.Errorf("docker-compose.yml gives %s to millrace; devstack does not", name)
		}
	}
}

func TestComposeFileStartsPartsAsDevstackDoes(t *testing.T) {
	project := loadCompose(t)
	site := peoplesSite(Temporal{})
	ours, err := Temporal{}.Command(site)
	if err != nil {
		t.Fatal(err)
	}
	switches := dynamicConfig(ours.Args)
	if len(switches) != 2 {
		t.Errorf("devstack gives Temporal the dynamic configuration %q; want two switches", switches)
	}
	if theirs := dynamicConfig(project.Services["temporal"].Command); !slices.Equal(switches, theirs) {
		t.Errorf("docker-compose.yml gives Temporal the dynamic configuration %q; devstack %q", theirs, switches)
	}

	repo, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	key, err := temporalTool().Key(repo)
	if err != nil {
		t.Fatal(err)
	}
	_, tag, _ := strings.Cut(project.Services["temporal"].Image, ":")
	if !strings.HasPrefix(key, "temporal-v"+tag+"-") {
		t.Errorf("docker-compose.yml takes Temporal %s; devstack builds %s", tag, key)
	}
	_, tag, _ = strings.Cut(project.Services["clickhouse"].Image, ":")
	if !strings.HasPrefix(chdbVersion, tag+".") {
		t.Errorf("docker-compose.yml takes ClickHouse %s; devstack %s", tag, chdbVersion)
	}

	clickhouse := project.Services["clickhouse"].Environment
	for name, want := range map[string]string{
		"CLICKHOUSE_USER": clickhouseUser, "CLICKHOUSE_PASSWORD": clickhousePassword, "CLICKHOUSE_DB": clickhouseDatabase,
	} {
		if got := clickhouse[name]; got == nil || *got != want {
			t.Errorf("docker-compose.yml does not set %s to %q", name, want)
		}
	}
	_, tag, _ = strings.Cut(project.Services["postgres"].Image, ":")
	if !strings.HasPrefix(postgresVersion, tag+".") {
		t.Errorf("docker-compose.yml takes Postgres %s; devstack %s", tag, postgresVersion)
	}
	postgres := project.Services["postgres"].Environment
	for name, want := range map[string]string{
		"POSTGRES_USER": postgresUser, "POSTGRES_PASSWORD": postgresPassword, "POSTGRES_DB": postgresDatabase,
	} {
		if got := postgres[name]; got == nil || *got != want {
			t.Errorf("docker-compose.yml does not set %s to %q", name, want)
		}
	}
	s3 := project.Services["s3"]
	for name, want := range map[string]string{"ROOT_ACCESS_KEY": s3AccessKey, "ROOT_SECRET_KEY": s3SecretKey} {
		if got := s3.Environment[name]; got == nil || *got != want {
			t.Errorf("docker-compose.yml does not set %s to %q", name, want)
		}
	}
	if start := strings.Join(s3.Entrypoint, " "); !strings.Contains(start, "mkdir -p /data/"+s3Bucket+" ") {
		t.Errorf("docker-compose.yml does not make the bucket %s: %s", s3Bucket, start)
	}
}

func loadCompose(t *testing.T) *types.Project {
	t.Helper()
	// By the link below testdata, for go test remembers a result as long as no file inside the module changed.
	options, err := cli.NewProjectOptions([]string{filepath.Join("testdata", "docker-compose.yml")}, cli.WithInterpolation(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatalf("load docker-compose.yml: %v", err)
	}
	return project
}

// fromThisMachine rewrites an address between containers to where the same is published.
func fromThisMachine(value string) string {
	// A broker tells its clients where to connect, so it needs one address for each side.
	value = strings.Replace(value, "kafka:19092", loopback(9092), 1)
	for _, part := range Parts() {
		for _, p := range part.Ports() {
			number := strconv.Itoa(p.Default)
			for _, before := range []string{"@", "//", ""} {
				inside := before + part.Name() + ":" + number
				if before == "" && value != inside {
					continue
				}
				value = strings.Replace(value, inside, before+loopback(p.Default), 1)
			}
		}
	}
	return value
}

func peoplesSite(part Part) Site {
	ports := map[string]int{}
	for _, p := range part.Ports() {
		ports[p.Name] = p.Default
	}
	return Site{Dir: "dir", Ports: ports, Tools: map[string]string{}}
}

// peoplesVariables are what devstack says on its default ports.
func peoplesVariables(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, part := range Parts() {
		for _, v := range part.Variables(peoplesSite(part)) {
			if _, twice := all[v.Name]; twice {
				t.Errorf("two parts say %s", v.Name)
			}
			all[v.Name] = v.Value
		}
	}
	return all
}

func dynamicConfig(args []string) []string {
	const flag = "--dynamic-config-value"
	values := map[string]bool{}
	for i, arg := range args {
		if value, ok := strings.CutPrefix(arg, flag+"="); ok {
			values[value] = true
		} else if arg == flag && i+1 < len(args) {
			values[args[i+1]] = true
		}
	}
	return slices.Sorted(maps.Keys(values))
}
