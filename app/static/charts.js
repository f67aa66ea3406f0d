/* Charts: what stands as JSON in `data-chart` is drawn by ECharts in the colours of the page, and again when they change. */
(() => {
  'use strict';

  const RINGS = 8;
  const number = new Intl.NumberFormat(document.documentElement.lang || 'zh-CN');
  const calm = window.matchMedia('(prefers-reduced-motion: reduce)');

  // A colour as the page has it now: canvas knows neither variables nor light-dark().
  function colours(place) {
    const probe = document.createElement('i');
    probe.hidden = true;
    place.append(probe);
    const read = (name) => {
      probe.style.color = `var(${name})`;
      return getComputedStyle(probe).color;
    };
    const found = {
      text: read('--tblr-secondary'), strong: read('--tblr-heading-color'), line: read('--tblr-border-color'),
      paper: read('--tblr-bg-surface'), rest: read('--mute-mark'),
      good: read('--good-mark'), busy: read('--busy-mark'), bad: read('--bad-mark'), warn: read('--warn-mark'), mute: read('--ring-3'),
      rings: Array.from({ length: RINGS }, (_, at) => read(`--ring-${at + 1}`)),
    };
    probe.remove();
    return found;
  }

  const fonts = () => getComputedStyle(document.body).fontFamily;
  const day = (text) => (/^\d{4}-\d\d-\d\d$/.test(text) ? text.slice(5) : text);

  function tooltip(ink, more) {
    return {
      backgroundColor: ink.paper, borderColor: ink.line, padding: [8, 12], textStyle: { color: ink.strong, fontSize: 12, fontFamily: fonts() },
      extraCssText: 'box-shadow: 0 6px 18px -6px #0006; border-radius: 8px;', ...more,
    };
  }

  function axes(chart, ink) {
    const label = { color: ink.text, fontSize: 11, fontFamily: fonts() };
    return {
      grid: { left: 12, right: 16, top: 18, bottom: chart.legend ? 34 : 8, containLabel: true },
      xAxis: { type: 'category', data: chart.labels.map(day), boundaryGap: chart.type !== 'line', axisTick: { show: false }, axisLine: { lineStyle: { color: ink.line } }, axisLabel: label },
      yAxis: { type: 'value', minInterval: 1, splitNumber: chart.type === 'line' ? 5 : 3, axisLabel: label, splitLine: { lineStyle: { color: ink.line, type: 'dashed' } } },
      legend: chart.legend ? { bottom: 0, itemWidth: 14, itemHeight: 8, icon: 'roundRect', textStyle: label, inactiveColor: ink.line } : undefined,
    };
  }

  const shapes = {
    line: (chart, ink) => ({
      ...axes(chart, ink),
      tooltip: tooltip(ink, { trigger: 'axis', axisPointer: { lineStyle: { color: ink.text } } }),
      series: chart.series.map((item) => ({
        type: 'line', name: item.name, data: item.values, color: ink[item.tone], smooth: 0.25, smoothMonotone: 'x', symbol: 'circle', symbolSize: 6,
        showSymbol: false, lineStyle: { width: 2 }, areaStyle: { opacity: 0.06 }, emphasis: { focus: 'series' },
      })),
    }),
    bars: (chart, ink) => ({
      ...axes(chart, ink),
      tooltip: tooltip(ink, { trigger: 'axis', axisPointer: { type: 'shadow' } }),
      series: chart.series.map((item) => ({
        type: 'bar', name: item.name, data: item.values, color: ink[item.tone], stack: 'all', barMaxWidth: 18, itemStyle: { borderRadius: 1 },
      })),
    }),
    ring: (chart, ink) => ({
      tooltip: tooltip(ink, { trigger: 'item', formatter: (item) => `${item.marker}${escaped(item.name)}　<b>${number.format(item.value)}</b>　${item.percent}%` }),
      series: [{
        type: 'pie', radius: ['62%', '92%'], padAngle: chart.items.length > 1 ? 1 : 0, itemStyle: { borderRadius: 3 }, label: { show: false }, emphasis: { scaleSize: 4 },
        data: chart.items.map((item, at) => ({ ...item, itemStyle: { color: item.url ? ink.rings[at % RINGS] : ink.rest } })),
      }],
    }),
  };

  function escaped(text) {
    const place = document.createElement('i');
    place.textContent = text;
    return place.innerHTML;
  }

  function draw(place) {
    let chart;
    try { chart = JSON.parse(place.dataset.chart); } catch { return; }
    const ink = colours(place);
    const held = window.echarts.getInstanceByDom(place);
    const made = held || window.echarts.init(place, null, { renderer: 'canvas', locale: document.documentElement.lang.startsWith('en') ? 'EN' : 'ZH' });
    made.setOption({ animation: !held && !calm.matches, animationDuration: 350, textStyle: { fontFamily: fonts() }, ...shapes[chart.type](chart, ink) }, true);
    if (held) return;
    if (chart.type === 'ring') made.on('click', (event) => { if (event.data?.url) location.href = event.data.url; });
    else made.getZr().on('click', (event) => follow(chart, made, event));
    watch.observe(place);
  }

  // A click leads to the list behind the point: the nearest line of that day.
  function follow(chart, made, event) {
    const at = made.convertFromPixel({ gridIndex: 0 }, [event.offsetX, event.offsetY]);
    if (!at || !chart.series[0].url || !made.containPixel('grid', [event.offsetX, event.offsetY])) return;
    const column = Math.max(0, Math.min(chart.labels.length - 1, Math.round(at[0])));
    const near = chart.series.filter((item) => item.values[column])
      .sort((one, two) => Math.abs(one.values[column] - at[1]) - Math.abs(two.values[column] - at[1]))[0];
    if (near) location.href = near.url.replaceAll('DAY', chart.labels[column]);
  }

  const watch = new ResizeObserver((entries) => entries.forEach(({ target }) => window.echarts.getInstanceByDom(target)?.resize()));

  function all() {
    if (window.echarts) document.querySelectorAll('[data-chart]').forEach(draw);
  }

  document.addEventListener('htmx:after:settle', all);
  document.addEventListener('htmx:before:cleanup', (event) => {
    const place = event.target;
    if (place instanceof Element && place.matches('[data-chart]')) window.echarts?.getInstanceByDom(place)?.dispose();
  });
  new MutationObserver(all).observe(document.documentElement, { attributes: true, attributeFilter: ['data-bs-theme'] });
  all();
})();
