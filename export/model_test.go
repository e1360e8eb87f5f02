package export

import (
	"encoding/json"
	"strings"
	"testing"
)

const ordersModel = `{"name":"orders","query":"SELECT * FROM shop.orders","arrival":"updated_at","key":["id"],"version":"updated_at","team":"shop_id","settle":"10m"}`

func modelOf(t *testing.T, text string) Model {
	t.Helper()
	var model Model
	if err := json.Unmarshal([]byte(text), &model); err != nil {
		t.Fatal(err)
	}
	return model
}

func TestAModelIsWrittenAsItIsRead(t *testing.T) {
	for _, text := range []string{`"events"`, ordersModel} {
		encoded, err := json.Marshal(modelOf(t, text))
		if err != nil || string(encoded) != text {
			t.Errorf("got  %s, %v\nwant %s", encoded, err, text)
		}
	}
}

func TestABadModelIsToldByFieldAndRemedy(t *testing.T) {
	for name, test := range map[string]struct{ model, want string }{
		"a list":         {`["events"]`, `model: must be the name of a model, such as "events", or a model whole`},
		"unknown field":  {strings.Replace(ordersModel, `"arrival"`, `"arrived"`, 1), `model "orders": unknown field "arrived": the fields are name, query, arrival, key, version, team, settle, watermark, columns`},
		"no query":       {`{"name":"orders"}`, `model "orders": query is missing: give one SELECT with the columns to export`},
		"no name":        {strings.Replace(ordersModel, `"orders"`, `""`, 1), `model: name: "" must be 1 to 63 lower-case letters, digits, underscores and dashes, beginning and ending with a letter or digit`},
		"events":         {strings.Replace(ordersModel, `"orders"`, `"events"`, 1), `model "events": name: is the built-in model's: choose another`},
		"semicolon":      {strings.Replace(ordersModel, `shop.orders`, `shop.orders;`, 1), `model "orders": query: has a semicolon in it: give one SELECT without; a semicolon in a text can be written char(59)`},
		"no arrival":     {strings.Replace(ordersModel, `"arrival":"updated_at",`, ``, 1), `model "orders": arrival is missing: name the column that intervals are cut by, such as "updated_at"`},
		"no key":         {strings.Replace(ordersModel, `["id"]`, `[]`, 1), `model "orders": key is missing: name the columns by which a row is told from all others, such as ["id"]`},
		"key twice":      {strings.Replace(ordersModel, `["id"]`, `["id","id"]`, 1), `model "orders": key: "id" is empty or there twice: name each column once`},
		"closed by none": {strings.Replace(ordersModel, `,"settle":"10m"`, ``, 1), `model "orders": settle is missing: say how long after its end an interval is complete, such as "10m": whoever loads the table must be that fast; for Millrace's own tables say watermark: true instead`},
		"closed by both": {strings.Replace(ordersModel, `"settle"`, `"watermark":true,"settle"`, 1), `model "orders": settle and watermark are both given: settle is for tables that others load, watermark: true for Millrace's own`},
	} {
		var model Model
		err := json.Unmarshal([]byte(test.model), &model)
		if err == nil {
			err = model.Validate()
		}
		if err == nil || err.Error() != test.want {
			t.Errorf("%s:\ngot  %v\nwant %s", name, err, test.want)
		}
	}
}

func TestBadColumnsAndFiltersAreToldByFieldAndRemedy(t *testing.T) {
	const all = "team_id, uuid, event, distinct_id, timestamp, properties, received_at, inserted_at, source, source_offset"
	for name, test := range map[string]struct{ fields, want string }{
		"a column":         {`"columns":["uuid","price"]`, `export "shop-events": columns: "price" is no column of the model: its columns are ` + all},
		"a column twice":   {`"columns":["uuid","uuid"]`, `export "shop-events": columns: "uuid" is there twice: name each column once`},
		"a filter's field": {`"filters":[{"column":"event","like":"a"}]`, `export "shop-events": filters: unknown field "like": the fields are column, include, exclude, at_least, below`},
		"no column":        {`"filters":[{"include":["a"]}]`, `export "shop-events": filters: number 1: column is missing: name a column of the model`},
		"two rules":        {`"filters":[{"column":"event","include":["a"],"exclude":["b"]}]`, `export "shop-events": filters: number 1: column "event": give just one of include, exclude, at_least and below; several filters of one column all hold`},
		"an empty list":    {`"filters":[{"column":"event","exclude":[]}]`, `export "shop-events": filters: number 1: column "event": the list is empty: name at least one value, or leave the filter out`},
		"null":             {`"filters":[{"column":"event","include":[null]}]`, `export "shop-events": filters: number 1: column "event": null is no value: give strings, numbers, true or false`},
		"filtered column":  {`"filters":[{"column":"price","below":7}]`, `export "shop-events": filters: "price" is no column of the model: its columns are ` + all},
		"a model's team":   {`"model":` + strings.Replace(ordersModel, `"team":"shop_id",`, ``, 1), `export "shop-events": team: 1 is asked for, and model "orders" does not say whose a row is: name the column with the team's number in the model's team, or export the team "all"`},
		"too little":       {`"chunk_bytes":1000`, `export "shop-events": chunk_bytes: 1000 must be at least 1048576`},
	} {
		err := readAndResolve(strings.Replace(strings.Replace(shopEvents, `"model":"events",`, ``, 1), `"every"`, test.fields+`,"every"`, 1))
		if err == nil || err.Error() != test.want {
			t.Errorf("%s:\ngot  %v\nwant %s", name, err, test.want)
		}
	}
}

func TestTheHashCoversModelColumnsAndFilters(t *testing.T) {
	var definition Definition
	if err := json.Unmarshal([]byte(shopEvents), &definition); err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for name, change := range map[string]func(*Definition){
		"as it is": func(*Definition) {}, "columns": func(d *Definition) { d.Columns = []string{"uuid"} },
		"filters": func(d *Definition) {
			d.Filters = []Filter{{Column: "event", Include: []json.RawMessage{[]byte(`"a"`)}}}
		},
		"values": func(d *Definition) {
			d.Filters = []Filter{{Column: "event", Include: []json.RawMessage{[]byte(`"b"`)}}}
		},
		"a model": func(d *Definition) { d.Model = modelOf(t, ordersModel) },
		"query":   func(d *Definition) { d.Model = modelOf(t, strings.Replace(ordersModel, "*", "id", 1)) },
	} {
		changed := definition
		change(&changed)
		hash := changed.WithDefaults().Hash()
		if other := seen[hash]; other != "" {
			t.Errorf("%s and %s have one hash", name, other)
		}
		seen[hash] = name
	}
	// As the plan describes it, and as it was given: one definition.
	given, described := definition, definition
	given.Model = modelOf(t, ordersModel)
	described.Model = given.Model
	described.Model.Columns = []Column{{Name: "id", Type: "UInt64"}}
	if given.Hash() != described.Hash() {
		t.Error("how ClickHouse describes the columns is in the hash")
	}
}
