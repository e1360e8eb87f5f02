package destinationtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// ClickHouse is the real one, at its HTTP address. It makes rows, and where it can read a destination it is the program that
// tells what lies there.
type ClickHouse struct{ URL string }

// Rows is a source of the rows of a query, as ClickHouse encodes them.
func (c ClickHouse) Rows(query string) destinations.Source { return encodes{c, query} }

// Texts is the answer to a query whose columns are all texts, row by row; a NULL is nil.
func (c ClickHouse) Texts(t testing.TB, query string) [][]*string {
	t.Helper()
	answer, err := c.ask(t.Context(), query+" FORMAT JSONCompactEachRow", "", nil)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer answer.Close()
	var rows [][]*string
	for lines := json.NewDecoder(answer); ; {
		var row []*string
		if err := lines.Decode(&row); err == io.EOF {
			return rows
		} else if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		rows = append(rows, row)
	}
}

// plain asks for no compression of its own: ClickHouse would compress what is to arrive as it lies there. It keeps no connection, for
// tests that look for what is left behind.
var plain = &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}

func (c ClickHouse) ask(ctx context.Context, query, accept string, settings map[string]string) (io.ReadCloser, error) {
	values := url.Values{"enable_http_compression": {"1"}}
	for name, value := range settings {
		values.Set(name, value)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+"/?"+values.Encode(), strings.NewReader(query))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept-Encoding", accept)
	answer, err := plain.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		return nil, fmt.Errorf("status %d: %s", answer.StatusCode, text)
	}
	return answer.Body, nil
}

type encodes struct {
	ClickHouse
	query string
}

// FormatNames are ClickHouse's names of the formats.
var FormatNames = map[export.Format]string{
	export.FormatParquet: "Parquet", export.FormatJSONEachRow: "JSONEachRow", export.FormatCSV: "CSVWithNames",
	export.FormatArrow: "Arrow", export.FormatTabSeparated: "TabSeparated",
}

// Open has the rows encoded; see destinations.Source.
func (e encodes) Open(ctx context.Context, form export.Encoding) (io.ReadCloser, error) {
	settings, accept := map[string]string{"date_time_output_format": "iso"}, "identity"
	switch {
	case form.Format == export.FormatParquet:
		settings["output_format_parquet_compression_method"] = string(form.Compression)
	case form.Format == export.FormatArrow:
		settings["output_format_arrow_compression_method"] = strings.Replace(string(form.Compression), "lz4", "lz4_frame", 1)
	case form.Wrapped():
		accept = string(form.Compression)
	}
	return e.ask(ctx, e.query+" FORMAT "+FormatNames[form.Format], accept, settings)
}
