package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"
)

// Gateways do not share their decisions, counters and health, so the one that is asked asks the
// others. A request with peer=1 is such a question: it is answered without asking further.

const (
	peerTimeout = 500 * time.Millisecond // for the whole answer of another gateway
	maxPeerBody = 8 << 20                // bytes of it
	maxAsked    = 64                     // gateways
	fromPeer    = "peer"                 // the parameter of such a request

	// instanceHeader is in each answer of the admin listener. It tells a process from others.
	instanceHeader = "Replygate-Instance"
)

// peerClient calls other gateways: directly, and without following redirects, since the read key
// goes with each request.
var peerClient = &http.Client{
	Transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: peerTimeout}).DialContext,
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     time.Minute,
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// peerAnswer is what one other gateway answered.
type peerAnswer[T any] struct {
	gateway  string // its address, or its name as admin.peers has it
	instance string // which process answered; "": it did not say
	value    T
	err      error // it did not answer, or not with 200; errNotFound if it has no such thing
}

// errNotFound is the answer 404 of another gateway.
var errNotFound = errors.New("it has none")

// missing is the answer's place in the list of gateways that did not answer.
func (p peerAnswer[T]) missing() Missing { return Missing{Gateway: p.gateway, Error: p.err.Error()} }

// askPeers asks all other gateways at once for a resource, and returns their answers in the order
// of admin.peers. One list can serve all gateways: this one, and a gateway that has two addresses,
// answer once.
func askPeers[T any](ctx context.Context, a *Admin, path string, query url.Values) []peerAnswer[T] {
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	query = maps.Clone(query)
	if query == nil {
		query = url.Values{}
	}
	query.Set(fromPeer, "1")
	answers := peerAddresses[T](ctx, a)
	var asking sync.WaitGroup
	for i := range answers {
		if p := &answers[i]; p.err == nil {
			asking.Go(func() { p.instance, p.err = a.askPeer(ctx, p.gateway, path+"?"+query.Encode(), &p.value) })
		}
	}
	asking.Wait()
	seen := map[string]bool{a.instance: true}
	return slices.DeleteFunc(answers, func(p peerAnswer[T]) bool {
		again := p.instance != "" && seen[p.instance]
		seen[p.instance] = true
		return again
	})
}

// peerAddresses returns an answer to be filled in for each address of the list. A name counts as
// all addresses that it has now: that of a headless service in Kubernetes has one for each pod.
func peerAddresses[T any](ctx context.Context, a *Admin) (all []peerAnswer[T]) {
	peers := a.Keys.Peers
	found := make([][]string, len(peers))
	errs := make([]error, len(peers))
	var looking sync.WaitGroup
	for i, peer := range peers {
		looking.Go(func() { found[i], errs[i] = a.resolvePeer(ctx, peer) })
	}
	looking.Wait()
	for i, peer := range peers {
		if errs[i] != nil {
			all = append(all, peerAnswer[T]{gateway: peer, err: errs[i]})
		}
		for _, address := range found[i] {
			all = append(all, peerAnswer[T]{gateway: address})
		}
	}
	return all[:min(len(all), maxAsked)]
}

// resolvePeer returns the addresses of one entry of admin.peers: itself unless it is a name with
// several. Those of IPv6 count only if there is none of IPv4: a gateway may listen on that alone.
func (a *Admin) resolvePeer(ctx context.Context, peer string) ([]string, error) {
	host, port, err := net.SplitHostPort(peer)
	if err != nil || net.ParseIP(host) != nil {
		return []string{peer}, nil
	}
	addresses, err := a.lookup(ctx, "ip4", host)
	if len(addresses) == 0 {
		addresses, err = a.lookup(ctx, "ip6", host)
	}
	if err != nil {
		return nil, errors.New("its name cannot be resolved")
	}
	if len(addresses) == 1 {
		return []string{peer}, nil
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	var all []string
	for _, ip := range addresses {
		all = append(all, net.JoinHostPort(ip.Unmap().String(), port))
	}
	return all, nil
}

func (a *Admin) lookup(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if a.Lookup != nil {
		return a.Lookup(ctx, network, host)
	}
	return net.DefaultResolver.LookupNetIP(ctx, network, host)
}

// askPeer reads the answer of one gateway, and tells which one that is, "" if it did not say.
func (a *Admin) askPeer(ctx context.Context, peer, path string, into any) (instance string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+peer+path, nil)
	if err != nil {
		return "", err
	}
	if a.Keys.ReadKey != "" {
		req.Header.Set("Authorization", "Bearer "+a.Keys.ReadKey.Reveal())
	}
	resp, err := peerClient.Do(req)
	switch {
	case err != nil && ctx.Err() != nil:
		return "", fmt.Errorf("no answer within %s", peerTimeout)
	case err != nil:
		return "", errors.New("no connection")
	}
	defer resp.Body.Close()
	return resp.Header.Get(instanceHeader), readPeer(ctx, resp, into)
}

// readPeer decodes the answer of another gateway.
func readPeer(ctx context.Context, resp *http.Response, into any) error {
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return errNotFound
	case http.StatusUnauthorized:
		return errors.New("it has another admin.read_key")
	default:
		return fmt.Errorf("it answered HTTP %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPeerBody+1))
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("no whole answer within %s", peerTimeout)
	case err != nil:
		return errors.New("its answer broke off")
	case len(body) > maxPeerBody:
		return fmt.Errorf("its answer is larger than %d MiB", maxPeerBody>>20)
	case json.Unmarshal(body, into) != nil:
		return errors.New("its answer cannot be read: is it a gateway of this version?")
	}
	return nil
}

// isPeer reports whether a request comes from another gateway that asks all others.
func isPeer(values url.Values) (bool, error) {
	switch values.Get(fromPeer) {
	case "":
		return false, nil
	case "1":
		return true, nil
	}
	return false, badQueryf("peer must be 1, or absent")
}

// unanswered lists the gateways that did not answer.
func unanswered[T any](answers []peerAnswer[T]) (all []Missing) {
	for _, p := range answers {
		if p.err != nil && !errors.Is(p.err, errNotFound) {
			all = append(all, p.missing())
		}
	}
	return slices.Clip(all)
}
