package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/parquet-go/parquet-go"
)

// Flight is one row of flights-3m.parquet, from the package vega-datasets: flights within the United States in the
// year 2001. Its times name no zone and are taken as UTC.
type Flight struct {
	Date        time.Time
	Delay       int64 // minutes; negative when it arrived early
	Distance    int64 // miles
	Origin      string
	Destination string
}

// flightRow is a Flight as the file has it, where every column may be null.
type flightRow struct {
	Date        *int64  `parquet:"date"` // microseconds
	Delay       *int64  `parquet:"delay"`
	Distance    *int64  `parquet:"distance"`
	Origin      *string `parquet:"origin"`
	Destination *string `parquet:"destination"`
}

// readFlights reads the first count rows of the file. A file with fewer rows, or a null among them, is an error: then
// it is not the file that this demo was written for.
func readFlights(path string, count int) ([]Flight, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the flights: %w", err)
	}
	defer file.Close()
	reader := parquet.NewGenericReader[flightRow](file)
	defer reader.Close()
	rows := make([]flightRow, count)
	for read := 0; read < count; {
		n, err := reader.Read(rows[read:])
		read += n
		if read < count && err != nil {
			if errors.Is(err, io.EOF) {
				return nil, fmt.Errorf("read the flights: %s has %d rows, wanted are %d", path, read, count)
			}
			return nil, fmt.Errorf("read the flights: %w", err)
		}
	}
	flights := make([]Flight, count)
	for i, row := range rows {
		if row.Date == nil || row.Delay == nil || row.Distance == nil || row.Origin == nil || row.Destination == nil {
			return nil, fmt.Errorf("read the flights: row %d of %s has a null", i, path)
		}
		flights[i] = Flight{
			Date: time.UnixMicro(*row.Date).UTC(), Delay: *row.Delay, Distance: *row.Distance,
			Origin: *row.Origin, Destination: *row.Destination,
		}
	}
	return flights, nil
}
