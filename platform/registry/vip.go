package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
)

// vips remembers the virtual address of each service in a file, so that it never changes. An address is
// the hash of the name within 127.77.0.0/16, or the next that is free.
type vips struct {
	path string // empty: not kept

	mu     sync.Mutex
	byName map[string]netip.Addr
}

func openVIPs(path string) (*vips, error) {
	v := &vips{path: path, byName: map[string]netip.Addr{}}
	if path == "" {
		return v, nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return v, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &v.byName); err != nil {
		return nil, fmt.Errorf("virtual addresses in %s: %w (delete the file to assign them anew)", path, err)
	}
	return v, nil
}

// names returns the services that have an address.
func (v *vips) names() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var names []string
	for name := range v.byName {
		names = append(names, name)
	}
	return names
}

// candidates returns the addresses a service may have, best first: its own when it has one, then from
// its hash on those that no other service has.
func (v *vips) candidates(service string) []netip.Addr {
	v.mu.Lock()
	defer v.mu.Unlock()
	var list []netip.Addr
	taken := map[netip.Addr]bool{}
	for name, addr := range v.byName {
		taken[addr] = true
		if name == service {
			list = append(list, addr)
		}
	}
	h := fnv.New32a()
	h.Write([]byte(service))
	for at := h.Sum32() % hosts; len(list) < 8 && len(taken) < hosts; at = (at + 1) % hosts {
		// Neither 0 nor 255 in the last place: some programs take them for networks.
		addr := netip.AddrFrom4([4]byte{127, 77, byte(at / 254), byte(at%254 + 1)})
		if !taken[addr] {
			taken[addr] = true
			list = append(list, addr)
		}
	}
	return list
}

const hosts = 256 * 254

var network = netip.MustParsePrefix("127.77.0.0/16")

// keep remembers where a service was bound.
func (v *vips) keep(service string, addr netip.Addr) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.byName[service] == addr || !network.Contains(addr) {
		return nil
	}
	v.byName[service] = addr
	if v.path == "" {
		return nil
	}
	data, err := json.MarshalIndent(v.byName, "", "\t")
	if err != nil {
		return err
	}
	return replaceFile(v.path, data)
}

// replaceFile writes a file so that a crash leaves the old content or the new, never a part.
func replaceFile(path string, data []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(append(data, '\n'))
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}
