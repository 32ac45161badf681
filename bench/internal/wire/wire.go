package wire

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/cleave-go/cleave/internal/echoapi"
)

// Main is the main function of a command that compares the contenders of this
// package, and more, as its flags say. It runs in the children too.
func Main(more ...Contender) {
	contenders = append(contenders, more...)
	if role := os.Getenv(roleVariable); role != "" {
		exit(child(role))
		return
	}
	var p plan
	var callers, only string
	flag.StringVar(&callers, "callers", "1,32,256", "how many calls are under way at a time")
	flag.StringVar(&only, "only", "", "contenders whose name begins with one of these, separated by commas")
	flag.IntVar(&p.rounds, "rounds", 5, "how often each is measured")
	flag.DurationVar(&p.length, "time", time.Second, "how long each is measured")
	flag.StringVar(&p.profile, "profile", "", "write CPU profiles to files with this prefix")
	flag.Parse()
	for s := range strings.SplitSeq(callers, ",") {
		n, err := strconv.Atoi(s)
		if err != nil {
			exit(err)
		}
		p.callers = append(p.callers, n)
	}
	p.contenders = contenders
	if only != "" {
		p.contenders = slices.DeleteFunc(slices.Clone(contenders), func(c Contender) bool {
			return !slices.ContainsFunc(strings.Split(only, ","), func(s string) bool { return strings.HasPrefix(c.Name, s) })
		})
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(p.run(ctx, os.Stdout))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type plan struct {
	contenders []Contender
	callers    []int
	rounds     int
	length     time.Duration
	profile    string
}

// sample is one round of one contender.
type sample struct {
	Calls, Errors  int
	Seconds        float64
	P50, P99       float64 // µs
	client, server float64 // CPU-µs per call
}

func (s sample) cpu() float64  { return s.client + s.server }
func (s sample) rate() float64 { return float64(s.Calls) / s.Seconds }

func (p plan) run(ctx context.Context, w io.Writer) error {
	fmt.Fprintf(w, "%s, %s/%s, %d CPUs; medians of %d rounds of %v\n", runtime.Version(), runtime.GOOS, runtime.GOARCH,
		runtime.GOMAXPROCS(0), p.rounds, p.length)
	for _, callers := range p.callers {
		samples := make([][]sample, len(p.contenders))
		for range p.rounds {
			for i, c := range p.contenders {
				s, err := p.measure(ctx, c, callers)
				if err != nil {
					return fmt.Errorf("%s: %w", c.Name, err)
				}
				samples[i] = append(samples[i], s)
			}
		}
		if err := p.print(w, callers, samples); err != nil {
			return err
		}
	}
	return nil
}

func (p plan) print(w io.Writer, callers int, samples [][]sample) error {
	base := max(slices.IndexFunc(p.contenders, func(c Contender) bool { return c.Name == baseline }), 0)
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(out, "\n%d callers\tCPU-µs/call\tclient\tserver\tratio\tcalls/s\tratio\tp50 µs\tp99 µs\t\n", callers)
	baseCPU, baseRate := median(samples[base], sample.cpu), median(samples[base], sample.rate)
	for i, c := range p.contenders {
		s := samples[i]
		cpu, rate := median(s, sample.cpu), median(s, sample.rate)
		fmt.Fprintf(out, "%s\t%.1f\t%.1f\t%.1f\t%.2f\t%.0f\t%.2f\t%.0f\t%.0f\t\n", c.Name, cpu,
			median(s, func(s sample) float64 { return s.client }), median(s, func(s sample) float64 { return s.server }),
			baseCPU/cpu, rate, rate/baseRate,
			median(s, func(s sample) float64 { return s.P50 }), median(s, func(s sample) float64 { return s.P99 }))
	}
	return out.Flush()
}

func median(s []sample, f func(sample) float64) float64 {
	var all []float64
	for _, x := range s {
		all = append(all, f(x))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

const roleVariable = "CLEAVE_WIRE_ROLE"

// measure runs both processes for one round.
func (p plan) measure(ctx context.Context, c Contender, callers int) (s sample, err error) {
	server, err := start(ctx, job{Role: "server", Name: c.Name, Profile: p.profile})
	if err != nil {
		return s, err
	}
	defer server.stop()
	addr, err := server.hear()
	if err != nil {
		return s, err
	}
	client, err := start(ctx, job{Role: "client", Name: c.Name, Addr: addr, Callers: callers, Length: p.length, Profile: p.profile})
	if err != nil {
		return s, err
	}
	defer client.stop()
	if _, err := client.hear(); err != nil { // it is warm
		return s, err
	}
	before, err := cpuOf(server, client)
	if err != nil {
		return s, err
	}
	if err := client.say("go"); err != nil {
		return s, err
	}
	line, err := client.hear()
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal([]byte(line), &s); err != nil {
		return s, err
	}
	after, err := cpuOf(server, client)
	if err != nil {
		return s, err
	}
	if s.Errors > 0 || s.Calls == 0 {
		return s, fmt.Errorf("%d of %d calls failed", s.Errors, s.Calls)
	}
	s.server, s.client = (after[0]-before[0])/float64(s.Calls), (after[1]-before[1])/float64(s.Calls)
	return s, nil
}

func cpuOf(children ...*process) (used [2]float64, err error) {
	for i, c := range children {
		if err := c.say("cpu"); err != nil {
			return used, err
		}
		line, err := c.hear()
		if err != nil {
			return used, err
		}
		if used[i], err = strconv.ParseFloat(line, 64); err != nil {
			return used, err
		}
	}
	return used, nil
}

// job is what a child process has to do.
type job struct {
	Role, Name, Addr string
	Callers          int
	Length           time.Duration
	Profile          string
}

// child is the main function of client and server. It obeys the lines it reads
// and ends with them.
func child(role string) error {
	var j job
	if err := json.Unmarshal([]byte(role), &j); err != nil {
		return err
	}
	at := slices.IndexFunc(contenders, func(c Contender) bool { return c.Name == j.Name })
	if at < 0 {
		return errors.New("no contender is called " + j.Name)
	}
	c := contenders[at]
	if j.Profile != "" {
		f, err := os.Create(j.Profile + "-" + strings.ReplaceAll(j.Name, " ", "_") + "-" + j.Role + ".pprof")
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer f.Close()
		defer pprof.StopCPUProfile()
	}
	var run func() (any, error)
	if j.Role == "server" {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		go func() { exit(c.Serve(ln)) }()
		if err := reachable(ln.Addr().String()); err != nil {
			return err
		}
		fmt.Println(ln.Addr())
	} else {
		call, err := c.Dial(j.Addr)
		if err != nil {
			return err
		}
		if s := load(call, j.Callers, min(j.Length/2, 500*time.Millisecond)); s.Errors > 0 {
			_, err := echo(context.Background(), call)
			return fmt.Errorf("%d calls failed: %w", s.Errors, err)
		}
		fmt.Println("warm")
		run = func() (any, error) { return load(call, j.Callers, j.Length), nil }
	}
	return obey(os.Stdin, os.Stdout, run)
}

// reachable waits until the server listens: some listen for themselves.
func reachable(addr string) (err error) {
	for range 500 {
		var nc net.Conn
		if nc, err = net.Dial("tcp", addr); err == nil {
			return nc.Close()
		}
		time.Sleep(10 * time.Millisecond)
	}
	return err
}

func cpuUsed() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e3
}

// Caller echoes a request.
type Caller func(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error)

// request is about 100 bytes.
func request(n int64) *echoapi.EchoRequest {
	return &echoapi.EchoRequest{Text: "an order of three dishes, to be delivered", Number: n,
		List: []string{"chicken vindaloo", "lamb rogan josh", "garlic naan"}}
}

func echo(ctx context.Context, call Caller) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	res, err := call(ctx, request(1<<40))
	return err == nil && res.GetNumber() == 1<<40 && len(res.GetList()) == 3, err
}

// load calls from so many goroutines for so long.
func load(call Caller, callers int, length time.Duration) sample {
	var wg sync.WaitGroup
	took := make([][]time.Duration, callers)
	failed := make([]int, callers)
	begin := time.Now()
	for i := range callers {
		took[i] = make([]time.Duration, 0, 1<<14)
		wg.Go(func() {
			for last := begin; last.Sub(begin) < length; {
				if ok, _ := echo(context.Background(), call); !ok {
					failed[i]++
				}
				now := time.Now()
				took[i] = append(took[i], now.Sub(last))
				last = now
			}
		})
	}
	wg.Wait()
	s := sample{Seconds: time.Since(begin).Seconds()}
	all := slices.Concat(took...)
	slices.SortFunc(all, cmp.Compare[time.Duration])
	for _, n := range failed {
		s.Errors += n
	}
	if s.Calls = len(all); s.Calls > 0 {
		s.P50 = float64(all[len(all)/2].Nanoseconds()) / 1e3
		s.P99 = float64(all[len(all)*99/100].Nanoseconds()) / 1e3
	}
	return s
}
