// Command fleet runs the kubelet's own certificate managers, many nodes in one process.
//
// Each node has a client certificate of its own (CN=system:node:NAME, O=system:nodes), creates its
// Node object as itself, reports its addresses as the kubelet does, and then asks for its serving
// certificate with the kubelet's code. Nothing here approves anything.
//
// Node number i (from --first-index on) is PREFIX-i. Its addresses are
//
//	Hostname    PREFIX-i
//	InternalIP  10.(128 + i/62500).(i/250 % 250).(i%250 + 1), so node-1 has 10.128.0.2
//	InternalIP  fd00:128::i in hexadecimal, with --dual-stack
//	InternalDNS PREFIX-i.SUFFIX, with --dns-suffix
//
// Output, one JSON object on each line of stdout:
//
//	{"event":"node-created","node":"node-1"}
//	{"event":"issued","node":"node-1","serial":"5f..","sans":[..],"notAfter":"..","millis":12.3}
//	{"event":"all-issued","nodes":5}
//	{"event":"error","node":"node-1","message":".."}
//
// "millis" is the time since the latest start of that node's certificate manager. "all-issued" is
// printed when no node waits any more: after the start, and after every rotation.
//
// Commands, one on each line of stdin:
//
//	rotate NODE|all      discard the certificate and start again, as a kubelet that lost its disk
//	address NODE IP,...  replace the node's InternalIPs: its kubelet reports them and asks again
//	quit
//
// The program exits at the end of stdin.
package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

type options struct {
	server, caCert, caKey, prefix, dir, dnsSuffix string
	nodes, firstIndex, parallel                   int
	dualStack                                     bool
	startSpread                                   time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.server, "server", "", "URL of the API server")
	flag.StringVar(&o.caCert, "ca-cert", "", "PEM `file` of the certificate authority of the cluster")
	flag.StringVar(&o.caKey, "ca-key", "", "PEM `file` of its key, for the nodes' client certificates")
	flag.StringVar(&o.prefix, "prefix", "node", "first part of each node's name")
	flag.StringVar(&o.dir, "dir", "", "`directory` for the certificates of the nodes")
	flag.StringVar(&o.dnsSuffix, "dns-suffix", "", "give each node an InternalDNS address under this domain")
	flag.IntVar(&o.nodes, "nodes", 1, "how many nodes")
	flag.IntVar(&o.firstIndex, "first-index", 1, "number of the first node")
	flag.IntVar(&o.parallel, "parallel", 32, "how many nodes are created at a time")
	flag.BoolVar(&o.dualStack, "dual-stack", false, "give each node an IPv6 InternalIP too")
	flag.DurationVar(&o.startSpread, "start-spread", 0, "spread the start of the managers evenly over this `duration`")
	flag.Parse()

	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	// Each manager registers metrics with the same names. A second registration would panic.
	legacyregistry.MustRegister = func(...metrics.Registerable) {}
	legacyregistry.RawMustRegister = func(...prometheus.Collector) {}

	authority, err := loadAuthority(o.caCert, o.caKey)
	if err != nil {
		return err
	}
	// A kubelet keeps its client key. One key for all nodes saves time and changes nothing.
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	f := &fleet{out: json.NewEncoder(os.Stdout), byName: map[string]*node{}, waiting: o.nodes}
	for i := o.firstIndex; i < o.firstIndex+o.nodes; i++ {
		name := fmt.Sprintf("%s-%d", o.prefix, i)
		client, err := authority.nodeClient(o.server, name, key)
		if err != nil {
			return err
		}
		n := &node{name: name, dir: filepath.Join(o.dir, name), client: client, waits: true}
		n.addresses.Store(addressesOf(name, i, o))
		f.nodes = append(f.nodes, n)
		f.byName[name] = n
	}

	go f.watchCertificates(ctx)
	go f.start(ctx, o.parallel, o.startSpread)
	go func() {
		f.obey(ctx, bufio.NewScanner(os.Stdin))
		stop()
	}()
	<-ctx.Done()
	return nil
}

// obey executes commands until stdin ends or the command is quit.
func (f *fleet) obey(ctx context.Context, lines *bufio.Scanner) {
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 0:
		case words[0] == "quit":
			return
		case words[0] == "rotate" && len(words) == 2 && words[1] == "all":
			f.rotate(f.nodes)
		case len(words) >= 2 && f.byName[words[1]] == nil:
			f.fail(words[1], fmt.Errorf("no such node in this fleet"))
		case words[0] == "rotate" && len(words) == 2:
			f.rotate([]*node{f.byName[words[1]]})
		case words[0] == "address" && len(words) == 3:
			f.readdress(ctx, f.byName[words[1]], strings.Split(words[2], ","))
		default:
			f.fail("", fmt.Errorf("unknown command %q", lines.Text()))
		}
	}
}

type event struct {
	Event    string   `json:"event"`
	Node     string   `json:"node,omitempty"`
	Nodes    int      `json:"nodes,omitempty"`
	Serial   string   `json:"serial,omitempty"`
	SANs     []string `json:"sans,omitempty"`
	NotAfter string   `json:"notAfter,omitempty"`
	Millis   float64  `json:"millis,omitempty"`
	Message  string   `json:"message,omitempty"`
}

// fleet holds all nodes, and the only writer of stdout.
type fleet struct {
	nodes  []*node
	byName map[string]*node

	mu      sync.Mutex
	out     *json.Encoder
	waiting int
}

func (f *fleet) say(e event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sayLocked(e)
}

func (f *fleet) sayLocked(e event) {
	if err := f.out.Encode(e); err != nil {
		os.Exit(1) // there is no reader any more
	}
}

func (f *fleet) fail(node string, err error) {
	f.say(event{Event: "error", Node: node, Message: err.Error()})
}
