// Command reference decides scenes, independently of csr-warden. See README.md.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
)

// input is one line: a scene, and for a comparison the decision of the other judge.
type input struct {
	ID      string   `json:"id"`
	Title   string   `json:"title"`
	Row     any      `json:"row"`
	Scene   *Scene   `json:"scene"`
	Verdict string   `json:"verdict"`
	Codes   []string `json:"codes"`
	// Generated is true if the scene was made at random.
	Generated bool `json:"generated"`
}

// output is the decision on one line.
type output struct {
	ID string `json:"id"`
	*Verdict
	Error string `json:"error,omitempty"`
}

// decided is a line with its decision.
type decided struct {
	input  input
	output output
}

func main() {
	compare := flag.Bool("compare", false, "compare each decision with the verdict and codes in the input")
	workers := flag.Int("workers", runtime.GOMAXPROCS(0), "number of scenes that are decided at once")
	flag.Parse()
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	equal, err := true, error(nil)
	if *compare {
		c := newComparison(out)
		err = decideAll(os.Stdin, *workers, func(d decided) error { c.add(d); return nil })
		equal = c.report()
	} else {
		encoder := json.NewEncoder(out)
		err = decideAll(os.Stdin, *workers, func(d decided) error { return encoder.Encode(d.output) })
	}
	if flushed := out.Flush(); err == nil {
		err = flushed
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(2)
	}
	if !equal {
		os.Exit(1)
	}
}

// batchSize is the number of lines that one worker decides at a time.
const batchSize = 64

type batch struct {
	lines  [][]byte
	result chan []decided
}

// decideAll decides lines in parallel, and hands each to a function in the order of the input.
func decideAll(in io.Reader, workers int, done func(decided) error) error {
	work := make(chan *batch)
	order := make(chan *batch, 2*workers)
	for range workers {
		go func() {
			for b := range work {
				results := make([]decided, len(b.lines))
				for i, line := range b.lines {
					results[i] = decide(line)
				}
				b.result <- results
			}
		}()
	}
	readError := make(chan error, 1)
	go func() {
		readError <- readBatches(in, work, order)
		close(work)
		close(order)
	}()
	var failed error
	for b := range order {
		for _, d := range <-b.result {
			if failed == nil {
				failed = done(d)
			}
		}
	}
	if err := <-readError; err != nil {
		return err
	}
	return failed
}

func readBatches(in io.Reader, work, order chan<- *batch) error {
	reader := bufio.NewReaderSize(in, 1<<20)
	send := func(lines [][]byte) {
		if len(lines) > 0 {
			b := &batch{lines, make(chan []decided, 1)}
			order <- b
			work <- b
		}
	}
	var lines [][]byte
	for {
		line, err := reader.ReadBytes('\n')
		if len(line) > 1 {
			lines = append(lines, line)
		}
		if len(lines) == batchSize || err != nil || reader.Buffered() == 0 {
			send(lines)
			lines = nil
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func decide(line []byte) (d decided) {
	defer func() {
		if r := recover(); r != nil {
			d.output.Error = fmt.Sprint("panic: ", r)
		}
	}()
	err := json.Unmarshal(line, &d.input)
	d.output.ID = d.input.ID
	if err == nil && d.input.Scene == nil {
		err = fmt.Errorf("scene is missing")
	}
	var verdict Verdict
	if err == nil {
		verdict, err = Judge(d.input.Scene)
	}
	d.input.Scene = nil
	if err != nil {
		d.output.Error = err.Error()
		return d
	}
	d.output.Verdict = &verdict
	return d
}
