// Command reader prints how Kubernetes parses certificate requests, with the parser, signature
// check and validation of the API server and the signer.
//
// Each line of stdin is a JSON object {"pem", "usages"}. Each line of stdout is the result, in the
// same order.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/kubernetes/pkg/apis/certificates"
)

type question struct {
	PEM    string   `json:"pem"`
	Usages []string `json:"usages"`
}

type answer struct {
	// Refused is the reason why the signer would reject the request. Empty if it would sign it.
	Refused    string   `json:"refused,omitempty"`
	CommonName string   `json:"commonName"`
	Groups     []string `json:"groups"`
	DNS        []string `json:"dns"`
	IPs        []string `json:"ips"`
	// Key is the SubjectPublicKeyInfo.
	Key []byte `json:"key"`
}

func read(q question) answer {
	request, err := certificates.ParseCSR([]byte(q.PEM))
	if err != nil {
		return answer{Refused: err.Error()}
	}
	a := answer{
		CommonName: request.Subject.CommonName,
		Groups:     request.Subject.Organization,
		DNS:        request.DNSNames,
		IPs:        []string{},
		Key:        request.RawSubjectPublicKeyInfo,
	}
	for _, ip := range request.IPAddresses {
		a.IPs = append(a.IPs, ip.String())
	}
	if err := request.CheckSignature(); err != nil {
		a.Refused = err.Error()
	} else if err := certificates.ValidateKubeletServingCSR(request, sets.NewString(q.Usages...)); err != nil {
		a.Refused = err.Error()
	}
	return a
}

func run() error {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	for in.Scan() {
		var q question
		if err := json.Unmarshal(in.Bytes(), &q); err != nil {
			return err
		}
		if err := encoder.Encode(read(q)); err != nil {
			return err
		}
	}
	if err := in.Err(); err != nil {
		return err
	}
	return out.Flush()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "reader:", err)
		os.Exit(1)
	}
}
