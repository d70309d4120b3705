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
	ID    string `json:"id"`
	Title string `json:"title"`
	// Row is the row of the vector with which the scene began.
	Row     int      `json:"row"`
	Scene   *Scene   `json:"scene"`
	Verdict string   `json:"verdict"`
	Codes   []string `json:"codes"`
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
	encoder := json.NewEncoder(out)
	c := newComparison(out)
	err := decideAll(os.Stdin, *workers, func(d decided) {
		if *compare {
			c.add(d)
		} else {
			encoder.Encode(d.output) // Flush returns its errors.
		}
	})
	if *compare {
		c.report()
	}
	if flushed := out.Flush(); err == nil {
		err = flushed
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(2)
	}
	if c.differences > 0 {
		os.Exit(1)
	}
}

// job is a line to decide.
type job struct {
	line   []byte
	result chan decided
}

// decideAll decides lines in parallel, and hands each to a function in the order of the input.
func decideAll(in io.Reader, workers int, done func(decided)) (err error) {
	work, order := make(chan job), make(chan job, 64*workers)
	for range workers {
		go func() {
			for j := range work {
				j.result <- decide(j.line)
			}
		}()
	}
	go func() {
		defer close(order)
		defer close(work)
		reader := bufio.NewReaderSize(in, 1<<20)
		for {
			line, failed := reader.ReadBytes('\n')
			if len(line) > 1 {
				j := job{line, make(chan decided, 1)}
				order <- j
				work <- j
			}
			if failed != nil {
				if failed != io.EOF {
					err = failed
				}
				return
			}
		}
	}()
	for j := range order {
		done(<-j.result)
	}
	return err
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
