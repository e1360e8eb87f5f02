package config_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/config"
)

const shop = `
teams:
  - {id: 1, name: shop, token: mr_shop}
connections:
  - name: lake
    s3: {bucket: lake, region: us-east-1, access_key_id: env:TEST_ACCESS, secret_access_key: env:TEST_SECRET, path_style: true}
exports:
  - name: shop-events
    team: 1
    connection: lake
    every: 1h
    s3: {prefix: events, format: parquet}
`

func TestYAMLAndJSONHaveOneShape(t *testing.T) {
	fromYAML, err := config.Parse("millrace.yaml", []byte(shop))
	if err != nil {
		t.Fatal(err)
	}
	fromJSON, err := config.Parse("millrace.json", []byte(`{
		"teams": [{"id": 1, "name": "shop", "token": "mr_shop"}],
		"exports": [{"name": "shop-events", "team": 1, "connection": "lake", "every": "1h", "s3": {"format": "parquet", "prefix": "events"}}],
		"connections": [{"name": "lake", "s3": {"bucket": "lake"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fromYAML.Teams, fromJSON.Teams); diff != "" {
		t.Errorf("teams differ:\n%s", diff)
	}
	if diff := cmp.Diff(fromYAML.Exports, fromJSON.Exports); diff != "" {
		t.Errorf("exports differ:\n%s", diff)
	}
	want := export.Definition{
		Name: "shop-events", Team: export.Team{ID: 1}, Connection: "lake", Every: export.Duration(3600e9),
		Destination: "s3", Settings: json.RawMessage(`{"format":"parquet","prefix":"events"}`),
	}
	if diff := cmp.Diff([]export.Definition{want}, fromYAML.Exports); diff != "" {
		t.Errorf("export read wrongly (-want +got):\n%s", diff)
	}
}

func TestExampleIsRead(t *testing.T) {
	example, err := config.Load("../../examples/millrace.yaml")
	if err != nil {
		t.Fatal(err)
	}
	definition, err := example.Export("shop-events")
	if err != nil {
		t.Fatal(err)
	}
	if definition.Destination != "s3" || example.Teams[0].Token != "mr_shop" {
		t.Errorf("example is not the shop: %+v %+v", definition, example.Teams)
	}
}

func TestConnectionResolvesAtEachCall(t *testing.T) {
	folder := t.TempDir()
	secret := filepath.Join(folder, "secret")
	writeFile(t, secret, "first\n")
	t.Setenv("TEST_ACCESS", "key-id")
	c, err := config.Parse(filepath.Join(folder, "millrace.yaml"), []byte(strings.ReplaceAll(shop, "env:TEST_SECRET", "file:secret")))
	if err != nil {
		t.Fatal(err)
	}
	for _, rotated := range []string{"first", "second"} {
		writeFile(t, secret, rotated+"\r\n")
		kind, block, err := c.Connection("lake")
		if err != nil {
			t.Fatal(err)
		}
		want := `{"access_key_id":"key-id","bucket":"lake","path_style":true,"region":"us-east-1","secret_access_key":"` + rotated + `"}`
		if kind != "s3" || string(block) != want {
			t.Errorf("got %s %s, want s3 %s", kind, block, want)
		}
	}
}

func TestConnectionErrors(t *testing.T) {
	c, err := config.Parse("millrace.yaml", []byte(shop))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEST_ACCESS", "key-id")
	for _, test := range []struct{ name, want string }{
		{"lake", `connection "lake": s3.secret_access_key: the environment variable TEST_SECRET is not set in this process: set it and start the process again`},
		{"pond", `connection "pond" is not in millrace.yaml: the connections there are lake`},
	} {
		_, _, err := c.Connection(test.name)
		if err == nil || err.Error() != test.want {
			t.Errorf("got  %v\nwant %s", err, test.want)
		}
		if kind := export.KindOf(err); kind != export.KindConfig {
			t.Errorf("kind of %v is %s, want config", err, kind)
		}
	}
}

func TestRedactedShowsReferencesOnly(t *testing.T) {
	t.Setenv("TEST_ACCESS", "key-id-value")
	t.Setenv("TEST_SECRET", "secret-value")
	c, err := config.Parse("millrace.yaml", []byte(shop))
	if err != nil {
		t.Fatal(err)
	}
	printed, err := c.Redacted()
	if err != nil {
		t.Fatal(err)
	}
	for _, hidden := range []string{"key-id-value", "secret-value", "mr_shop"} {
		if strings.Contains(string(printed), hidden) {
			t.Errorf("shows %q:\n%s", hidden, printed)
		}
	}
	for _, shown := range []string{"env:TEST_SECRET", `"bucket": "lake"`, `"shop-events"`, `"m…"`} {
		if !strings.Contains(string(printed), shown) {
			t.Errorf("does not show %q:\n%s", shown, printed)
		}
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
