-- host.lua: a whole host for dukd plugins (knowledge distillation for super-resolution) in one file of LuaJIT, made to be
-- copied. It loads a plugin, trains a tiny network by the step protocol of dukd_plugin.h, and exits 0 only if l_total falls
-- by a tenth or more from the first tenth of the iterations to the last; 1 if it does not; 2 after an error.
--
-- First part: the ABI in Lua (declarations, errors, loading). Second: what a trainer has with or without a plugin (data, two
-- filters as networks, an optimizer). Third: the contract (session, passes, steps).
local USAGE = [[
usage: luajit host.lua PLUGIN.so [iterations=60] [batch=4] [micro=1] [seed=1] [rate=0.02] [KEY=VALUE ...]
       luajit host.lua PLUGIN.so --info     what the plugin says of itself: backends, losses, options
Every KEY but these five goes to the plugin as it is. A KEY given several times is a list; 'KEY=' is YAML's null.
dukd_plugin.h is looked for beside this file, or where the environment's DUKD_HEADER says.]]

local ffi, bit = require "ffi", require "bit"
local band, bnot, rshift = bit.band, bit.bnot, bit.rshift
local WRITTEN_FOR = 2 -- the draft whose comments this file was written by
local D, err -- the header's constants by name; one dukd_error for all calls

local function fail(...) error(string.format(...), 0) end -- a message for the user, without a place in this file

---------------------------------------------------------------------------------------------------------- the ABI in Lua

-- The declarations are the header's own text, read at run time, so they cannot differ from it. This is simple because it
-- needs nothing but <stdint.h>, which ffi knows: drop comments, C++ and preprocessor lines, collect '#define NAME number'.
-- What the text cannot tell is checked: the size of each struct against the header's DUKD_..._SIZE, and the draft against
-- the one this file was written for, since a later draft may keep a struct and change its meaning.
local function read_header(path)
  local file = io.open(path) or fail("cannot read the header %s (set DUKD_HEADER)", path)
  local c = "\n" .. file:read("*a"):gsub("\r", ""):gsub("/%*.-%*/", " "):gsub("\\\n", " ")
  file:close()
  local const = {}
  for name, value in c:gmatch("\n#define[ \t]+(DUKD_[%w_]+)[ \t]+([^\n]+)") do
    const[name] = tonumber((value:gsub("[()%s]", ""):gsub("[uUlL]+$", ""))) or value:match('^"(.-)"')
  end
  ffi.cdef((c:gsub("\n#ifdef __cplusplus\n.-\n#endif", ""):gsub("\n[ \t]*#[^\n]*", ""):gsub("DUKD_EXPORT", "")))
  local draft = tostring(const.DUKD_ABI_DRAFT)
  if draft ~= tostring(WRITTEN_FOR) then fail("%s is draft %s, this host was written for %d", path, draft, WRITTEN_FOR) end
  for name, size in pairs(const) do
    local struct = name:match("^(DUKD_.*)_SIZE$")
    if struct and ffi.sizeof(struct:lower()) ~= size then fail("%s: %s has not its %d bytes", path, struct:lower(), size) end
  end
  return const
end

-- A zeroed struct with its struct_size. Pointers in C keep nothing alive: what they point to needs a Lua variable, too.
local function new(name) return ffi.new(name, { struct_size = ffi.sizeof(name) }) end

local function has(flags, flag) return band(flags, flag) ~= 0 end
local function text(s) return s ~= nil and ffi.string(s) or nil end -- NULL is "== nil", but "if s" takes it for true

local function check(what, r)
  if r >= 0 then return r end
  local code = tostring(r)
  for k, v in pairs(D) do if v == r then code = k end end
  fail("%s: %s: %s", what, code, ffi.string(err.message))
end

-- ffi.load binds locally, as the contract asks. Keep `lib` as long as the plugin: collecting it unloads the library.
local function open_plugin(path)
  if not path:find("/") then path = "./" .. path end -- else ffi.load looks in the system's folders, for another name, too
  local ok, lib = pcall(ffi.load, path)
  local found, entry = pcall(function() return lib[D.DUKD_ENTRY_NAME] end)
  if not ok or not found then fail("cannot load the plugin: %s", (ok and entry or lib):match("host%.lua:%d+: (.*)") or lib) end
  local plugin = entry(D.DUKD_ABI_DRAFT)
  if plugin.abi_draft ~= D.DUKD_ABI_DRAFT then -- before anything else of the table is read
    fail("%s is built for draft %d, this host for %d: rebuild the %s", path, plugin.abi_draft, D.DUKD_ABI_DRAFT,
      plugin.abi_draft < D.DUKD_ABI_DRAFT and "plugin" or "host")
  end
  return plugin, lib
end

local function show_info(plugin)
  local info, kinds, b = plugin.get_info(), { "bool", "int", "float", "string" }, new "dukd_backend_info"
  print(("%s %s (%s)"):format(text(info.name), text(info.version), text(info.build)))
  for i = 0, info.n_backends - 1 do
    check("query_backend", plugin.query_backend(i, b, err))
    print(("backend %s: %s%s"):format(text(b.name), b.usable == 1 and "" or "not usable: ", text(b.detail)))
  end
  for i = 0, info.n_losses - 1 do print(("loss %s: %s"):format(text(info.losses[i].name), text(info.losses[i].help))) end
  for i = 0, info.n_options - 1 do
    local o = info.options[i]
    local kind = (has(o.type, D.DUKD_OPTION_LIST) and "list of " or "") .. (kinds[band(o.type, 0xff)] or "?")
    for k = 0, o.n_choices - 1 do kind = kind .. (k == 0 and " " or "|") .. text(o.choices[k]) end
    if o.min > -math.huge or o.max < math.huge then kind = ("%s %g..%g"):format(kind, o.min, o.max) end
    print(("%s=%s (%s): %s"):format(text(o.name), text(o.default_text) or "", kind, text(o.help)))
  end
end

--------------------------------------------------------------------------- a trainer: tensors, data, networks, optimizer

local SCALE, CHANNELS, SIZE = 2, 3, 16 -- LR pictures are SIZE x SIZE

-- A dense f32 tensor of this host; the Lua table keeps alive what the struct points to.
local function tensor(n, c, h, w)
  local t = { data = ffi.new("float[?]", n * c * h * w), shape = ffi.new("int64_t[4]", n, c, h, w), c = ffi.new "dukd_tensor" }
  t.c.data, t.c.shape, t.c.ndim = t.data, t.shape, 4
  t.c.device.device_type, t.c.dtype = D.DUKD_DEVICE_CPU, { D.DUKD_TYPE_FLOAT, 32, 1 }
  return t
end

-- Fills a batch with pictures that depend on the global index alone: waves and an edge. LR is the mean of 2x2 pixels of HR.
local function make_batch(first, lr, hr, batch)
  local size = SCALE * SIZE
  ffi.fill(lr.data, ffi.sizeof(lr.data))
  for p = 0, batch * CHANNELS - 1 do
    local k, c = (first + math.floor(p / CHANNELS)) % 16, p % CHANNELS
    for y = 0, size - 1 do for x = 0, size - 1 do
      local wave = math.sin(x * (0.3 + 0.04 * k) + c) * math.cos(y * (0.9 - 0.03 * k) + k)
      local value = 0.5 + 0.3 * wave + (x + y > 20 + 2 * k and 0.15 or -0.15)
      local at = (p * SIZE + rshift(y, 1)) * SIZE + rshift(x, 1)
      hr.data[(p * size + y) * size + x], lr.data[at] = value, lr.data[at] + value / 4
    end end
  end
end

-- Both networks: one filter of (2r+1)^2 pixels for each of the 2x2 places that a pixel becomes, the same in all channels.
local function network(r)
  local net = { r = r, n = 4 * (2 * r + 1) ^ 2, t = 0 }
  for _, k in ipairs { "w", "g", "m", "v", "ema" } do net[k] = ffi.new("double[?]", net.n) end -- m, v: Adam's; ema: average
  return net
end

-- The teacher is exact where a picture is a polynomial of degree 4 (it inverts the mean of 2x2 pixels). The student starts
-- by repeating each pixel, a little darker, and has to learn.
local function make_networks()
  local student, teacher = network(1), network(2)
  local row = { 3 / 128, -22 / 128, 1, 22 / 128, -3 / 128 } -- for the right one of two pixels; for the left one mirrored
  for place = 0, 3 do
    student.w[place * 9 + 4], student.ema[place * 9 + 4] = 0.8, 0.8
    for a = 1, 5 do for b = 1, 5 do
      teacher.w[place * 25 + a * 5 + b - 6] = row[place >= 2 and a or 6 - a] * row[place % 2 == 1 and b or 6 - b]
    end end
  end
  return { student, teacher }
end

local function numbers(a) return tonumber(a[0]), tonumber(a[1]), tonumber(a[2]), tonumber(a[3]) end -- of int64_t[4]

-- A tensor of any strides as dense f32, with r pixels more at each side (the border's, repeated).
local function padded(t, r)
  if t.ndim ~= 4 or t.dtype.code ~= D.DUKD_TYPE_FLOAT or t.dtype.bits ~= 32 or t.device.device_type == D.DUKD_DEVICE_CUDA then
    fail("this host computes on f32 images in CPU memory, the plugin made something else")
  end
  local N, C, H, W = numbers(t.shape)
  local sn, sc, sh, sw = C * H * W, H * W, W, 1
  if t.strides ~= nil then sn, sc, sh, sw = numbers(t.strides) end
  local from = ffi.cast("const float *", ffi.cast("const char *", t.data) + t.byte_offset)
  local out, i = ffi.new("float[?]", N * C * (H + 2 * r) * (W + 2 * r)), 0
  for n = 0, N - 1 do for c = 0, C - 1 do for y = -r, H + r - 1 do for x = -r, W + r - 1 do
    out[i] = from[n * sn + c * sc + math.min(math.max(y, 0), H - 1) * sh + math.min(math.max(x, 0), W - 1) * sw]
    i = i + 1
  end end end end
  return { data = out, N = N, C = C, H = H, W = W, pitch = W + 2 * r }
end

-- Calls f(place of an output pixel, place of the first pixel under its filter, place of the filter's first weight).
local function each_pixel(net, x, f)
  local k = 2 * net.r + 1
  for p = 0, x.N * x.C - 1 do for y = 0, 2 * x.H - 1 do for c = 0, 2 * x.W - 1 do
    local i = (p * (x.H + k - 1) + rshift(y, 1)) * x.pitch + rshift(c, 1)
    f((p * 2 * x.H + y) * 2 * x.W + c, i, ((y % 2) * 2 + c % 2) * k * k)
  end end end
end

local function forward(net, x, weights, out)
  local k, data = 2 * net.r + 1, x.data
  each_pixel(net, x, function(o, i, w)
    local sum = 0
    for a = 0, k - 1 do for b = 0, k - 1 do sum = sum + weights[w + a * k + b] * data[i + a * x.pitch + b] end end
    out[o] = sum
  end)
end

local function backward(net, x, grad) -- adds to net.g
  local k, data, g = 2 * net.r + 1, x.data, net.g
  each_pixel(net, x, function(o, i, w)
    for a = 0, k - 1 do for b = 0, k - 1 do
      g[w + a * k + b] = g[w + a * k + b] + grad[o] * data[i + a * x.pitch + b]
    end end
  end)
end

local function adam(net, rate)
  net.t = net.t + 1
  for i = 0, net.n - 1 do
    net.m[i], net.v[i] = 0.9 * net.m[i] + 0.1 * net.g[i], 0.99 * net.v[i] + 0.01 * net.g[i] ^ 2
    net.w[i] = net.w[i] - rate * net.m[i] / (1 - 0.9 ^ net.t) / (math.sqrt(net.v[i] / (1 - 0.99 ^ net.t)) + 1e-12)
  end
end

------------------------------------------------------------------------------------------------------------ the contract

local NAMES = { "student", "teacher" }

-- Called by the plugin inside create_session. No error may leave it: below it are C's frames.
local function tap_shape(_, tap, from, to)
  if tap.layer ~= nil or tap.from_layer ~= nil or tap.network >= #NAMES then return 1 end
  to[0], to[1], to[2], to[3] = from[0], from[1], SCALE * from[2], SCALE * from[3]
  return 0
end

-- Returns the session and what must live as long: what the host struct points to. `list` has the options {key, place, values}.
local function create_session(plugin, own, list)
  local host, params, keep = new "dukd_host", new "dukd_session_params", {}
  local names = ffi.new("const char *[?]", #NAMES, NAMES)
  local callback = ffi.cast("int32_t (*)(void *, const dukd_tap *, const int64_t *, int64_t *, dukd_error *)", tap_shape)
  host.networks, host.n_networks, host.tap_shape = names, #NAMES, callback
  host.caps = D.DUKD_CAP_TWO_STEPS + D.DUKD_CAP_MODE_TRAIN -- no layers, no chained taps, no gradients but the student's
  -- log, should_cancel, alloc, parallel_for stay NULL: nobody here needs them.
  local options = ffi.new("const dukd_option *[?]", #list + 1)
  for i, o in ipairs(list) do -- text, a place for messages, no meaning
    local c, values = new "dukd_option", ffi.new("const char *[?]", #o.values + 1, o.values)
    c.kind = #o.values == 0 and D.DUKD_VALUE_NULL or #o.values == 1 and D.DUKD_VALUE_SCALAR or D.DUKD_VALUE_LIST
    c.key, c.place, c.values, c.n_values = o.key, o.place, values, #o.values
    options[i - 1], keep[i] = c, { c, values }
  end
  params.host, params.options, params.n_options = host, options, #list
  params.micro_count, params.seed, params.scale = own.micro, own.seed, SCALE
  params.lr_shape = { own.batch, CHANNELS, SIZE, SIZE }
  local like = tensor(1, 1, 1, 1).c
  params.dtype, params.device = like.dtype, like.device
  local out = ffi.new "dukd_session *[1]"
  check("create_session", plugin.create_session(params, out, err))
  return out[0], { names, callback, keep }
end
jit.off(create_session) -- C that calls back into Lua must not be called from compiled code

-- Computes a pass, submits it, does what its flags say. `slots` has values and gradients by plan_index: shapes stay the same
-- and a pass comes once a step, so what DUKD_TAP_KEEP asks to keep is kept.
local function run_pass(plugin, session, pass, nets, slots, rate)
  local student, n, known = nets[1], pass.n_taps, D.DUKD_TAP_FLAGS
  if has(pass.flags, bnot(D.DUKD_PASS_FLAGS)) then fail("pass %d has flags that this host does not know", pass.id) end
  if has(pass.flags, D.DUKD_PASS_ZERO_GRAD_BEFORE) then ffi.fill(student.g, ffi.sizeof(student.g)) end
  local array = "const dukd_tensor *[?]"
  local slot = slots[pass.plan_index] or { values = ffi.new(array, n), grads = ffi.new(array, n), v = {}, g = {}, x = {} }
  slots[pass.plan_index] = slot
  for i = 0, n - 1 do
    local tap = pass.taps[i]
    local net, want = nets[tap.network + 1], has(tap.flags, D.DUKD_TAP_WANT_GRAD)
    if has(tap.flags, bnot(known)) or tap.source_kind ~= D.DUKD_SOURCE_INPUT or tap.layer ~= nil or tap.from_layer ~= nil
      or want and net ~= student then fail("pass %d, tap %d: this host's caps do not have that", pass.id, i) end
    local x = padded(pass.inputs[tap.source_id].tensor, net.r)
    slot.x[i] = x -- backward needs it
    slot.v[i] = slot.v[i] or tensor(x.N, x.C, SCALE * x.H, SCALE * x.W)
    slot.values[i] = slot.v[i].c
    if want then
      slot.g[i] = slot.g[i] or tensor(x.N, x.C, SCALE * x.H, SCALE * x.W)
      slot.grads[i] = slot.g[i].c
    end
    forward(net, x, net.w, slot.v[i].data) -- DUKD_TAP_MODE_TRAIN changes nothing: these networks do the same in both modes
  end
  local submit = new "dukd_submit"
  submit.pass_id, submit.n_taps, submit.values, submit.grads, submit.grad_scale = pass.id, n, slot.values, slot.grads, 1
  check("submit_pass", plugin.submit_pass(session, submit, err))
  if has(pass.flags, D.DUKD_PASS_BACKWARD) then
    for i, grad in pairs(slot.g) do backward(student, slot.x[i], grad.data) end -- the plugin has divided by micro_count
  end
  if has(pass.flags, D.DUKD_PASS_OPTIMIZE_AFTER) then adam(student, rate) end -- clears nothing
  if has(pass.flags, D.DUKD_PASS_EMA_AFTER) then
    for i = 0, student.n - 1 do student.ema[i] = 0.9 * student.ema[i] + 0.1 * student.w[i] end
  end
end

local function train(plugin, session, own)
  local nets, slots, totals, pass = make_networks(), {}, {}, ffi.new "const dukd_pass *[1]"
  local lr, hr = tensor(own.batch, CHANNELS, SIZE, SIZE), tensor(own.batch, CHANNELS, SCALE * SIZE, SCALE * SIZE)
  local step, losses = new "dukd_step", new "dukd_losses"
  step.micro_count, step.lr, step.hr = own.micro, lr.c, hr.c
  for iteration = 1, own.iterations do
    local rate = own.rate * (1 - (iteration - 1) / own.iterations) -- the schedule moves once an iteration
    for micro = 0, own.micro - 1 do
      local first = ((iteration - 1) * own.micro + micro) * own.batch
      make_batch(first, lr, hr, own.batch)
      step.iteration, step.micro_index, step.first_sample = iteration, micro, first
      check("begin_step", plugin.begin_step(session, step, err))
      while true do
        local r = check("next_pass", plugin.next_pass(session, pass, err))
        if r == D.DUKD_STEP_DONE then break end
        if r ~= D.DUKD_OK then fail("next_pass: outcome %d, though every pass was submitted", r) end
        run_pass(plugin, session, pass[0], nets, slots, rate)
      end
      check("end_step", plugin.end_step(session, err))
    end
    check("read_losses", plugin.read_losses(session, losses, err))
    local line = ("iteration %d:"):format(iteration)
    for i = 0, losses.n_losses - 1 do
      local name, value = text(losses.names[i]), losses.values[i]
      line = ("%s  %s %.6f"):format(line, name, value)
      if name == "l_total" then totals[iteration] = value end
    end
    if iteration == 1 or iteration % math.ceil(own.iterations / 10) == 0 then print(line) end
  end
  local out, sum, n = ffi.new("float[?]", ffi.sizeof(hr.data) / 4), 0, ffi.sizeof(hr.data) / 4
  forward(nets[1], padded(lr.c, nets[1].r), nets[1].ema, out) -- the averaged weights are what a trainer would save
  for i = 0, n - 1 do sum = sum + (out[i] - hr.data[i]) ^ 2 / n end
  print(("averaged weights: %.2f dB on the last batch"):format(-10 * math.log10(sum)))
  local k, first, last = math.ceil(own.iterations / 10), 0, 0
  for i = 1, k do first, last = first + totals[i] / k, last + totals[own.iterations + 1 - i] / k end
  print(("l_total: %.6f at first, %.6f at last"):format(first, last))
  return last <= 0.9 * first -- false for NaN, too
end

local function main()
  D = read_header(os.getenv("DUKD_HEADER") or (arg[0]:match("^.*/") or "./") .. "dukd_plugin.h")
  err = new "dukd_error"
  local plugin, lib = open_plugin(arg[1])
  if arg[2] == "--info" then show_info(plugin) return true, lib end
  local own, list, by_key = { iterations = 60, batch = 4, micro = 1, seed = 1, rate = 0.02 }, {}, {}
  for i = 2, #arg do
    local key, value = arg[i]:match("^([^=]+)=(.*)$")
    if not key then fail("argument %d: '%s' is not KEY=VALUE", i, arg[i]) end
    if own[key] then
      local x = tonumber(value)
      if not x or x < 0 or key ~= "rate" and (x < 1 or x % 1 ~= 0) then fail("argument %d: '%s' is out of range", i, arg[i]) end
      own[key] = x
    else
      local option = by_key[key] or { key = key, place = "argument " .. i, values = {} }
      if not by_key[key] then table.insert(list, option) end
      by_key[key] = option
      if value ~= "" then table.insert(option.values, value) end
    end
  end
  local session, keep = create_session(plugin, own, list)
  local ok, result = pcall(train, plugin, session, own)
  plugin.destroy_session(session) -- allowed in every state: after an error nothing has to be undone first
  if not ok then error(result, 0) end
  return result, keep, lib -- both have lived until here
end

if #arg == 0 then print(USAGE) os.exit(2) end
local ok, result = pcall(main)
if not ok then io.stderr:write("host.lua: ", tostring(result), "\n") end
os.exit(not ok and 2 or result and 0 or 1)
