// Command asker prints the certificate request of a kubelet with given node addresses. The
// kubelet's own certificate manager makes the request, and no API server is involved.
//
// Each line of stdin is a JSON object {"node", "addresses": [{"type", "address"}], "key"}. Each
// line of stdout is the request, in the same order: {"pem", "usages", "signer"}, or {} if the
// kubelet makes no request.
//
// A kubelet's key is P-256. For any other kind of key that Kubernetes signs, the request is signed
// again with a key of that kind, as client-go does.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	certificates "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/util/cert"
	clientcertificate "k8s.io/client-go/util/certificate"
	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	kubeletcertificate "k8s.io/kubernetes/pkg/kubelet/certificate"
)

type question struct {
	Node      string           `json:"node"`
	Addresses []v1.NodeAddress `json:"addresses"`
	Key       string           `json:"key"`
}

type answer struct {
	PEM    string                  `json:"pem,omitempty"`
	Usages []certificates.KeyUsage `json:"usages,omitempty"`
	Signer string                  `json:"signer,omitempty"`
}

// ask runs one attempt of the kubelet's certificate manager. dir is empty and stays empty.
func ask(q question, dir string) (*certificates.CertificateSigningRequest, error) {
	var ears listener
	manager, err := kubeletcertificate.NewKubeletServerCertificateManager(
		&ears, &kubeletconfig.KubeletConfiguration{}, types.NodeName(q.Node),
		func() []v1.NodeAddress { return q.Addresses }, dir)
	if err != nil {
		return nil, err
	}
	defer manager.Stop()
	once, ok := manager.(interface{ RotateCerts() (bool, error) })
	if !ok {
		return nil, fmt.Errorf("a %T cannot be asked to try once", manager)
	}
	if _, err := once.RotateCerts(); err != nil {
		return nil, err
	}
	return ears.heard, nil
}

// again signs the same request with another key.
func again(request *certificates.CertificateSigningRequest, key any) (answer, error) {
	block, _ := pem.Decode(request.Spec.Request)
	if block == nil {
		return answer{}, fmt.Errorf("the kubelet's request is no PEM")
	}
	parsed, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return answer{}, err
	}
	made, err := cert.MakeCSRFromTemplate(key, &x509.CertificateRequest{
		Subject:     parsed.Subject,
		DNSNames:    parsed.DNSNames,
		IPAddresses: parsed.IPAddresses,
	})
	if err != nil {
		return answer{}, err
	}
	return answer{
		PEM:    string(made),
		Usages: clientcertificate.DefaultKubeletServingGetUsages(key),
		Signer: request.Spec.SignerName,
	}, nil
}

func reply(q question, dir string, keys *ring) (answer, error) {
	request, err := ask(q, dir)
	if err != nil || request == nil {
		return answer{}, err
	}
	if q.Key != kubeletsKey {
		key, err := keys.of(q.Key)
		if err != nil {
			return answer{}, err
		}
		return again(request, key)
	}
	return answer{
		PEM:    string(request.Spec.Request),
		Usages: request.Spec.Usages,
		Signer: request.Spec.SignerName,
	}, nil
}

func run() error {
	// Each manager registers metrics with the same names, and the request of each is rejected.
	legacyregistry.MustRegister = func(...metrics.Registerable) {}
	legacyregistry.RawMustRegister = func(...prometheus.Collector) {}
	utilruntime.ErrorHandlers = nil

	dir, err := os.MkdirTemp("", "asker")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	var keys ring
	for in.Scan() {
		var q question
		if err := json.Unmarshal(in.Bytes(), &q); err != nil {
			return err
		}
		a, err := reply(q, dir, &keys)
		if err != nil {
			return err
		}
		if err := encoder.Encode(a); err != nil {
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
		fmt.Fprintln(os.Stderr, "asker:", err)
		os.Exit(1)
	}
}
