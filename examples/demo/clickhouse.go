package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// query sends a query by HTTP and gives the answer's body, complete before its first byte comes, so that an answer is
// never taken for whole that broke off.
func (w World) query(ctx context.Context, query string, parameters map[string]string) (io.ReadCloser, error) {
	address := *w.ClickHouse
	values := address.Query()
	values.Set("database", w.Database)
	values.Set("wait_end_of_query", "1")
	for name, value := range parameters {
		values.Set("param_"+name, value)
	}
	address.RawQuery = values.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address.String(), strings.NewReader(query))
	if err != nil {
		return nil, fmt.Errorf("ask ClickHouse: %w", err)
	}
	answer, err := http.DefaultClient.Do(request)
	if failed := (*url.Error)(nil); errors.As(err, &failed) {
		err = failed.Err // without the address, whose parameters may hold a secret
	}
	if err != nil {
		return nil, fmt.Errorf("ask ClickHouse: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		said, _ := io.ReadAll(io.LimitReader(answer.Body, 2000))
		return nil, fmt.Errorf("ask ClickHouse: %s: %s", answer.Status, strings.TrimSpace(string(said)))
	}
	return answer.Body, nil
}

func (w World) queryRow(ctx context.Context, query string, parameters map[string]string, into any) error {
	body, err := w.query(ctx, query+" FORMAT JSONEachRow SETTINGS output_format_json_quote_64bit_integers = 0", parameters)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return fmt.Errorf("read ClickHouse's answer: %w", err)
	}
	return nil
}

// Loaded is what of the team's events is in ClickHouse.
type Loaded struct {
	Rows  int64 `json:"rows"`
	First int64 `json:"first"` // arrival time of the first and the last, microseconds since 1970
	Last  int64 `json:"last"`
}

func (l Loaded) first() time.Time { return time.UnixMicro(l.First).UTC() }
func (l Loaded) last() time.Time  { return time.UnixMicro(l.Last).UTC() }

func (w World) loaded(ctx context.Context) (Loaded, error) {
	var loaded Loaded
	err := w.queryRow(ctx, `SELECT count() AS rows, toUnixTimestamp64Micro(min(inserted_at)) AS first, toUnixTimestamp64Micro(max(inserted_at)) AS last
		FROM events WHERE team_id = {team:Int64}`, map[string]string{"team": fmt.Sprint(teamID)}, &loaded)
	return loaded, err
}

// clickhouseReader reads files with ClickHouse's own table function s3().
type clickhouseReader struct {
	world World
	glob  string // of keys in the bucket
}

func (clickhouseReader) Name() string { return "ClickHouse s3()" }

// Read implements Reader: the totals and the rows are two questions, so that the sums are ClickHouse's own.
func (r clickhouseReader) Read(ctx context.Context, each func(Row) error) (Totals, error) {
	source := "s3({url:String}, {id:String}, {secret:String}, 'Parquet')"
	parameters := map[string]string{
		"url": r.world.S3Endpoint + "/" + r.world.Bucket + "/" + r.glob,
		"id":  r.world.AccessKeyID, "secret": r.world.SecretAccessKey, "flight": flightEvent,
	}
	var totals Totals
	err := r.world.queryRow(ctx, `SELECT count() AS rows, sumIf(JSONExtractInt(properties, 'delay'), event = {flight:String}) AS delay,
		sumIf(JSONExtractInt(properties, 'distance'), event = {flight:String}) AS distance FROM `+source, parameters, &totals)
	if err != nil {
		return Totals{}, err
	}
	body, err := r.world.query(ctx, `SELECT toString(uuid), event, distinct_id, toString(toUnixTimestamp64Micro(timestamp)), properties FROM `+
		source+` FORMAT JSONCompactEachRow`, parameters)
	if err != nil {
		return Totals{}, err
	}
	defer body.Close()
	return totals, decodeRows(body, each)
}
