// Builds app/static/vendor from the packages pinned in package-lock.json: `make vendor`, run by whoever changes them.
// What comes out is committed, so that installing and running the console needs neither Node nor a network.
import { build, transform } from 'esbuild';
import { mkdir, readFile, readdir, unlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { PurgeCSS } from 'purgecss';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { rules } from './keep.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.resolve(here, '../..');
const out = path.join(root, 'app/static/vendor');
const modules = path.join(here, 'node_modules');
const read = (name) => readFile(path.join(modules, name), 'utf8');
const withoutMap = (text) => text.replace(/\n?\/[/*]# sourceMappingURL=[^\n]*/g, '');

async function sources() {
  const texts = [];
  for (const [folder, ending] of [['app/templates', '.html'], ['app/static', '.js'], ['app/views', '.py']]) {
    for (const file of await readdir(path.join(root, folder), { recursive: true })) {
      if (!file.endsWith(ending) || file.startsWith('vendor')) continue;
      texts.push(await readFile(path.join(root, folder, file), 'utf8'));
    }
  }
  return new Set(texts.join('\n').match(/[A-Za-z][\w-]*/g));
}

async function purgedTabler() {
  const css = await read('@tabler/core/dist/css/tabler.min.css');
  const named = await sources();
  const is = (patterns, name) => patterns.some((pattern) => pattern.test(name));
  const kept = [...new Set(css.match(/\.[A-Za-z][\w-]*/g))].map((name) => name.slice(1))
    .filter((name) => (is(rules.keep, name) || named.has(name)) && !is(rules.drop, name));
  const [found] = await new PurgeCSS().purge({
    content: [{ raw: kept.join(' '), extension: 'txt' }],
    css: [{ raw: css }],
    defaultExtractor: (text) => text.split(' '),
    safelist: { standard: rules.elements, variables: [], keyframes: [] },
    keyframes: true,
    fontFace: true,
    variables: false,
  });
  // Minified once more: rules that lost all their selectors leave empty media queries behind.
  const { code } = await transform(found.css, { loader: 'css', minify: true, legalComments: 'inline' });
  return code;
}

// Each icon as a mask: a page names it by a class, and takes its colour from the text around it.
async function icons() {
  const names = (await readFile(path.join(here, 'icons.txt'), 'utf8'))
    .split('\n').filter((line) => !line.startsWith('#')).join(' ').split(/\s+/).filter(Boolean);
  const encoded = (text) => text.replace(/"/g, "'").replace(/[%#<>]/g, encodeURIComponent);
  const frame = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="#000" stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round">';
  const rules = ["/* Tabler's outline icons as masks, MIT; licences/tabler-icons.txt */"];
  for (const name of [...new Set(names)].sort()) {
    let svg;
    try {
      svg = await read(`@tabler/icons/icons/outline/${name}.svg`);
    } catch {
      throw new Error(`icons.txt: Tabler has no outline icon ${name}`);
    }
    const inner = svg.replace(/<!--[\s\S]*?-->/g, '').replace(/<\/?svg[^>]*>/g, '')
      .replace(/<path[^>]*stroke="none"[^>]*\/>/g, '').replace(/\s+/g, ' ').replace(/ \/>/g, '/>').replace(/> </g, '><').trim();
    rules.push(`.i-${name}{--i:url("data:image/svg+xml,${encoded(`${frame}${inner}</svg>`)}")}`);
  }
  return `${rules.join('\n')}\n`;
}

async function bundled(entry, notice) {
  const result = await build({
    entryPoints: [path.join(here, entry)], bundle: true, minify: true, write: false, format: 'iife',
    target: 'es2020', legalComments: 'none', nodePaths: [modules],
  });
  return `/*! ${notice} */\n${result.outputFiles[0].text}`;
}

const LICENCES = {
  tabler: '@tabler/core', 'tabler-icons': '@tabler/icons', htmx: 'htmx.org', 'tom-select': 'tom-select',
  sifter: '@orchidjs/sifter',
  'unicode-variants': '@orchidjs/unicode-variants', echarts: 'echarts', zrender: 'zrender', tslib: 'tslib', 'axe-core': 'axe-core',
};

async function licence(name) {
  const folder = path.join(modules, LICENCES[name]);
  const files = (await readdir(folder, { withFileTypes: true }))
    .filter((file) => file.isFile() && /^(licen[cs]e|notice)/i.test(file.name)).map((file) => file.name).sort();
  const meta = JSON.parse(await readFile(path.join(folder, 'package.json'), 'utf8'));
  const texts = await Promise.all(files.map((file) => readFile(path.join(folder, file), 'utf8')));
  const own = path.join(here, 'licences', `${name}.txt`);
  if (!texts.length) texts.push(await readFile(own, 'utf8'));
  return `${meta.name} ${meta.version} (${meta.license})\n\n${texts.join('\n\n').trim()}\n`;
}

async function main() {
  await mkdir(path.join(out, 'licences'), { recursive: true });
  const files = {
    'tabler.css': await purgedTabler(),
    'icons.css': await icons(),
    'htmx.js': withoutMap(await read('htmx.org/dist/htmx.min.js')),
    'tom-select.js': await bundled('pick.js', 'Tom Select, custom build; Apache License 2.0, licences/tom-select.txt'),
    'tom-select.css': withoutMap(await read('tom-select/dist/css/tom-select.bootstrap5.min.css')),
    'echarts.js': await bundled('chart.js', 'Apache ECharts, custom build; Apache License 2.0, licences/echarts.txt'),
  };
  for (const name of Object.keys(LICENCES)) files[`licences/${name}.txt`] = await licence(name);
  for (const [name, text] of Object.entries(files)) {
    const bytes = Buffer.from(text);
    await writeFile(path.join(out, name), bytes);
    if (name.startsWith('licences/')) continue;
    const gz = gzipSync(bytes, { level: 9 });
    const br = brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
    await writeFile(path.join(out, `${name}.gz`), gz);
    await writeFile(path.join(out, `${name}.br`), br);
    console.log(`${name}: ${bytes.length} bytes, gzip ${gz.length}, brotli ${br.length}`);
  }
  for (const old of await readdir(out, { recursive: true })) {
    if (old !== 'licences' && !(old.replace(/\.(gz|br)$/, '') in files)) await unlink(path.join(out, old));
  }
  const axe = path.join(root, 'tests/browser/vendor');
  await mkdir(axe, { recursive: true });
  await writeFile(path.join(axe, 'axe.min.js'), withoutMap(await read('axe-core/axe.min.js')));
}

await main();
