/* What a page gains with JavaScript: local times, charts, and news read aloud. It works without. */
(function () {
  "use strict";

  function localTimes(root) {
    root.querySelectorAll("time[datetime]:not([data-done])").forEach(function (time) {
      var at = new Date(time.getAttribute("datetime"));
      time.setAttribute("data-done", "");
      if (at.getTimezoneOffset() !== 0) {
        var local = document.createElement("span");
        local.className = "local";
        local.textContent = " (" + at.toLocaleTimeString() + " here)";
        time.appendChild(local);
      }
    });
  }

  /* Only what changed is announced: the page is renewed every two seconds. */
  var told = null;
  function announce() {
    var news = document.querySelector("[data-announce]");
    if (!news) { return; }
    var words = news.textContent.trim();
    if (told !== null && words !== told) {
      document.getElementById("announce").textContent = words;
      var verdict = document.querySelector(".verdict .word");
      if (verdict) { document.title = verdict.textContent.trim() + " · Basalt"; }
    }
    told = words;
  }

  var CHARTS = {
    iops: [["reads", "read_iops", 1], ["writes", "write_iops", 1]],
    bps: [["read", "read_bps", 1 / 1048576], ["written", "write_bps", 1 / 1048576]],
    latency: [["p50", "p50_s", 1000], ["p95", "p95_s", 1000], ["p99", "p99_s", 1000]]
  };

  function colours() {
    var dark = matchMedia("(prefers-color-scheme: dark)").matches;
    return dark
      ? { ink: "#a8b5c2", grid: "#37444f", lines: ["#82bdff", "#ffcf70", "#ffa5a5"] }
      : { ink: "#51606f", grid: "#dde4ea", lines: ["#0b57a4", "#a05a00", "#a31621"] };
  }

  function series(history, name) {
    return [history.at].concat(CHARTS[name].map(function (line) {
      return history[line[1]].map(function (v) { return v === null ? null : v * line[2]; });
    }));
  }

  function axis(colour) {
    return { stroke: colour.ink, grid: { stroke: colour.grid, width: 1 }, ticks: { stroke: colour.grid } };
  }

  function clock(u, times) {
    return times.map(function (t) { return new Date(t * 1000).toLocaleTimeString([], { hour12: false }); });
  }

  function draw(box, name, history) {
    var colour = colours();
    return new uPlot({
      width: box.clientWidth, height: 180,
      scales: { y: { range: function (u, min, max) { return [0, max > 0 ? max * 1.1 : 1]; } } },
      axes: [Object.assign(axis(colour), { values: clock, space: 80 }), axis(colour)],
      series: [{ label: "at", value: function (u, t) { return t === null ? "–" : clock(u, [t])[0]; } }].concat(CHARTS[name].map(function (line, index) {
        return {
          label: line[0], stroke: colour.lines[index], width: 2, spanGaps: false,
          dash: [[], [8, 4], [2, 3]][index],
          value: function (u, v) { return v === null ? "–" : v.toPrecision(3); }
        };
      }))
    }, series(history, name), box);
  }

  function charts(area) {
    var plots = {};
    function renew() {
      fetch(area.dataset.history, { headers: { Accept: "application/json" } })
        .then(function (answer) { return answer.ok ? answer.json() : null; })
        .then(function (history) {
          if (!history || history.at.length < 2) { return; }
          area.classList.add("drawn");
          area.querySelectorAll("[data-chart]").forEach(function (box) {
            var name = box.dataset.chart;
            if (plots[name]) { plots[name].setData(series(history, name)); }
            else { plots[name] = draw(box, name, history); }
          });
        }).catch(function () { /* the page says that MGMT does not answer */ });
    }
    /* Drawn anew where the system turns dark or light while the page is open. */
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", function () {
      Object.keys(plots).forEach(function (name) { plots[name].destroy(); });
      plots = {};
      renew();
    });
    addEventListener("resize", function () {
      area.querySelectorAll("[data-chart]").forEach(function (box) {
        if (plots[box.dataset.chart]) { plots[box.dataset.chart].setSize({ width: box.clientWidth, height: 180 }); }
      });
    });
    renew();
    setInterval(renew, 2000);
  }

  document.querySelectorAll("[data-history]").forEach(charts);
  localTimes(document);
  announce();
  document.body.addEventListener("htmx:afterSettle", function () {
    localTimes(document);
    announce();
  });
  /* While MGMT does not answer, say so: an old page must not look like a new one. */
  var lost = null;
  function lose() {
    if (lost) { return; }
    lost = document.createElement("div");
    lost.className = "note failed";
    lost.setAttribute("role", "alert");
    lost.textContent = "MGMT does not answer: what you see is old. Storage is not concerned.";
    document.getElementById("main").prepend(lost);
  }
  document.body.addEventListener("htmx:sendError", lose);
  document.body.addEventListener("htmx:responseError", lose);
  document.body.addEventListener("htmx:afterOnLoad", function () {
    if (lost) { lost.remove(); lost = null; }
  });
})();
