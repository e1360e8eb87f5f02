package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
)

// someFlights are made up.
func someFlights(count int) []Flight {
	flights := make([]Flight, count)
	for i := range flights {
		flights[i] = Flight{
			Date:  time.Date(2001, 1, 1, 0, i, 0, 0, time.UTC),
			Delay: int64(i%100) - 50, Distance: int64(100 + i), Origin: "LAS", Destination: "PHL",
		}
	}
	return flights
}

func writeFlights(t *testing.T, rows []flightRow) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "flights.parquet")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	writer := parquet.NewGenericWriter[flightRow](file)
	if _, err := writer.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(writer.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadFlights(t *testing.T) {
	date, delay, distance, origin, destination := time.Date(2001, 1, 1, 0, 1, 0, 0, time.UTC).UnixMicro(), int64(33), int64(2176), "LAS", "PHL"
	row := flightRow{&date, &delay, &distance, &origin, &destination}
	holey := row
	holey.Delay = nil
	path := writeFlights(t, []flightRow{row, row, holey})
	flights, err := readFlights(path, 2)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Flight{time.UnixMicro(date).UTC(), 33, 2176, "LAS", "PHL"}); len(flights) != 2 || flights[1] != want {
		t.Errorf("got %v, want twice %v", flights, want)
	}
	if _, err := readFlights(path, 3); err == nil || !strings.Contains(err.Error(), "row 2") {
		t.Errorf("a null is not refused: %v", err)
	}
	if _, err := readFlights(path, 4); err == nil || !strings.Contains(err.Error(), "has 3 rows, wanted are 4") {
		t.Errorf("a file that is too short is not refused: %v", err)
	}
}

func TestEveryEventIsSentOnceUnderAnIDOfItsOwn(t *testing.T) {
	strange := strangeCaptures()
	events := captures(someFlights(1000), strange)
	rows, totals, err := wanted(events)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1000+len(strange) || totals.Rows != int64(len(rows)) {
		t.Fatalf("%d rows and totals of %d", len(rows), totals.Rows)
	}
	ids := map[string]bool{}
	odd := 0
	for _, row := range rows {
		ids[row.UUID] = true
		if row.Event != flightEvent {
			odd++
		}
	}
	if len(ids) != len(rows) || odd != len(strange) {
		t.Errorf("%d ids and %d strange events among %d rows", len(ids), odd, len(rows))
	}
	if again, _, _ := wanted(captures(someFlights(1000), strangeCaptures())); again[500] != rows[500] {
		t.Error("the same flights give other events")
	}
	if last := rows[len(rows)-1]; last.Event == flightEvent {
		t.Error("the strange events are not spread to the end")
	}
}

func TestStrangeEventsKeepTheirDigitsWhenTheyAreSent(t *testing.T) {
	rows, _, err := wanted(strangeCaptures())
	if err != nil {
		t.Fatal(err)
	}
	all := ""
	for _, row := range rows {
		all += row.Properties
	}
	for _, text := range []string{
		"9007199254740993", "-9223372036854775808", "18446744073709551615", "123456789012345678901234567890",
		"0.1000000000000000055511151231257827", "1e400", "1.50E+02", "-0.0", `"null":null`, `[null,null]`, `\u0000`, "👩‍👩‍👧‍👦",
	} {
		if !strings.Contains(all, text) {
			t.Errorf("%s is not among what is sent", text)
		}
	}
	if rows[2].Micros%1_000_000 != 123456 {
		t.Errorf("the time between seconds is %d", rows[2].Micros)
	}
}

func TestConstantsAreThoseOfTheConfiguration(t *testing.T) {
	content, err := os.ReadFile("millrace.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"id: 1\n", "token: " + projectToken + "\n", "name: " + exportName + "\n", "prefix: " + exportPrefix + "\n", "every: 1m\n"} {
		if !strings.Contains(string(content), line) {
			t.Errorf("millrace.yaml has no line %q", line)
		}
	}
}
