package main

import (
	"context"
	"fmt"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/internal/config"
)

func openStore(ctx context.Context, env config.Environment) (*eventstore.Store, error) {
	return eventstore.Open(ctx, eventstore.Config{URL: env.ClickHouseURL, HTTPURL: env.ClickHouseHTTPURL})
}

// withStore opens ClickHouse, hands it over, and makes its errors say what to do.
func withStore(ctx context.Context, env config.Environment, do func(*eventstore.Store) error) error {
	store, err := openStore(ctx, env)
	if err != nil {
		return err
	}
	defer store.Close()
	return explainServers(do(store))
}

// explainServers adds to an error of ClickHouse or Kafka that nobody answered, and what to do about it. Everything else
// stays as it is. The error names the address already.
func explainServers(err error) error {
	switch {
	case broker.IsAway(err):
		return fmt.Errorf("%w: Kafka does not answer: is it up, and is %s right? %s", err, config.VarKafkaBrokers, config.DevWorld)
	case eventstore.IsAway(err):
		return fmt.Errorf("%w: ClickHouse does not answer: is it up, and are %s and %s right? %s",
			err, config.VarClickHouseURL, config.VarClickHouseHTTPURL, config.DevWorld)
	}
	return err
}
