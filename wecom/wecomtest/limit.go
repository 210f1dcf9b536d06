package wecomtest

import "time"

// Limit bounds the calls of one path by one corp; 0 is no bound. Beyond Minute and Hour calls get
// 45009 until that unit of time has passed (DOC 90454). Beyond AtOnce calls get 45033.
type Limit struct {
	Minute, Hour int
	AtOnce       int // WeCom's staff say 5 for some calls; it is not documented
}

// usage counts the calls of one path by one corp.
type usage struct {
	minute, hour counter
	running      int
}

// usageKey identifies a path that a corp calls.
type usageKey struct{ corp, path string }

// counter counts calls in periods that begin with a call.
type counter struct {
	began time.Time
	calls int
	shut  time.Time // until then all calls fail
}

// SetLimit changes the limit of a path, for each corp by itself. By default only contact_list has
// one.
func (p *Platform) SetLimit(path string, l Limit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limits[path] = l
}

// Refuse answers a corp's calls of a path with an errcode from now on, such as 48002 for an app
// that may not call it; 0 ends this.
func (p *Platform) Refuse(corpID, path string, code int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused[usageKey{corpID, path}] = code
}

// Hold keeps the answers of a path until release is called.
func (p *Platform) Hold(path string) (release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	held := make(chan struct{})
	p.held[path] = held
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.held[path] == held {
			delete(p.held, path)
			close(held)
		}
	}
}

// admit returns 0 if a corp may call a path now, else an errcode. The caller must end an admitted
// call with leave.
func (p *Platform) admit(corpID, path string) int {
	k := usageKey{corpID, path}
	if code := p.refused[k]; code != 0 {
		return code
	}
	l := p.limits[path]
	if p.usage[k] == nil {
		p.usage[k] = &usage{}
	}
	u, now := p.usage[k], p.now()
	switch {
	case !u.minute.count(now, time.Minute, l.Minute), !u.hour.count(now, time.Hour, l.Hour):
		return 45009
	case l.AtOnce > 0 && u.running >= l.AtOnce:
		return 45033
	}
	u.running++
	return 0
}

// leave ends an admitted call.
func (p *Platform) leave(corpID, path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.usage[usageKey{corpID, path}].running--
}

// count counts a call. It reports false if that is more than most in a period.
func (c *counter) count(now time.Time, period time.Duration, most int) bool {
	if most == 0 {
		return true
	}
	if now.Before(c.shut) {
		return false
	}
	if now.Sub(c.began) >= period || now.Before(c.began) {
		c.began, c.calls = now, 0
	}
	if c.calls++; c.calls > most {
		c.shut = now.Add(period)
		c.began, c.calls = c.shut, 0
		return false
	}
	return true
}
