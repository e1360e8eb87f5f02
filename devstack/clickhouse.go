package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// The user and database are the ones that docker-compose.yml gives the official image.
const (
	clickhouseUser     = "millrace"
	clickhousePassword = "millrace"
	// The engine's own database, default, is kept in memory here: what has to last needs one of its own.
	clickhouseDatabase = "millrace"
)

//go:embed clickhouse-config.xml
var clickhouseConfig []byte

//go:embed clickhouse-users.xml
var clickhouseUsers []byte

// ClickHouse is the engine of the npm package chdb, served by a process of this same program.
type ClickHouse struct{}

// Name implements Part.
func (ClickHouse) Name() string { return "clickhouse" }

// Ports implements Part.
func (ClickHouse) Ports() []Port {
	return []Port{{Name: "clickhouse", Default: 9000}, {Name: "clickhouse-http", Default: 8123, Scheme: "http"}}
}

// Tools implements Part.
func (ClickHouse) Tools() []Tool { return []Tool{chdbTool()} }

// Command implements Part.
func (ClickHouse) Command(site Site) (Command, error) {
	config := filepath.Join(site.Dir, "config.xml")
	for path, content := range map[string][]byte{config: clickhouseConfig, filepath.Join(site.Dir, "users.xml"): clickhouseUsers} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return Command{}, fmt.Errorf("write ClickHouse's configuration: %w", err)
		}
	}
	self, err := ownProgram()
	if err != nil {
		return Command{}, err
	}
	return Command{
		Program: self,
		Args: []string{
			serveClickHouse, site.Tools["chdb"],
			"--config-file=" + config,
			"--path=" + filepath.Join(site.Dir, "data"),
			"--tcp_port=" + strconv.Itoa(site.Ports["clickhouse"]),
			"--http_port=" + strconv.Itoa(site.Ports["clickhouse-http"]),
		},
	}, nil
}

// Ready implements Part: a query on our own database, over HTTP, and a connection to the native port.
func (p ClickHouse) Ready(ctx context.Context, site Site) error {
	if err := dial(ctx, site.Addr("clickhouse")); err != nil {
		return err
	}
	if _, err := post(ctx, p.httpURL(site), "CREATE DATABASE IF NOT EXISTS "+clickhouseDatabase+" ENGINE = Atomic"); err != nil {
		return err
	}
	return get(ctx, p.httpURL(site)+"/?database="+clickhouseDatabase+"&query=SELECT+1")
}

// Variables implements Part.
func (p ClickHouse) Variables(site Site) []Variable {
	return []Variable{
		{"MILLRACE_CLICKHOUSE_URL", fmt.Sprintf("clickhouse://%s:%s@%s/%s", clickhouseUser, clickhousePassword, site.Addr("clickhouse"), clickhouseDatabase)},
		{"MILLRACE_CLICKHOUSE_HTTP_URL", p.httpURL(site)},
	}
}

func (ClickHouse) httpURL(site Site) string {
	return fmt.Sprintf("http://%s:%s@%s", clickhouseUser, clickhousePassword, site.Addr("clickhouse-http"))
}
