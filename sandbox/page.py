"""The look of the sandbox's own pages: one style sheet, no outside resource, readable at 375 px."""

from __future__ import annotations

from html import escape

_STYLE = """
:root{--ink:#1c1f23;--soft:#646a73;--line:#dee0e3;--back:#f5f6f7;--card:#fff;--main:#fe2c55;--dark:#161823}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:15px/1.6 system-ui,"PingFang SC","Microsoft YaHei",
"Noto Sans CJK SC",sans-serif}
header{background:var(--dark);color:#fff;padding:14px 16px}
header b{font-size:17px}header span{opacity:.75;margin-left:8px;font-size:13px}
main{max-width:1080px;margin:16px auto;padding:0 12px}
main.narrow{max-width:560px}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px;margin:0 0 16px}
h1{font-size:20px;margin:0 0 8px}h2{font-size:16px;margin:0 0 12px}
p{margin:0 0 10px}.soft{color:var(--soft);font-size:13px}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(190px,1fr));gap:10px 14px}
label{display:block;font-size:13px;color:var(--soft)}
input,select{width:100%;min-height:40px;padding:7px 10px;border:1px solid #8f959e;border-radius:6px;
font:inherit;color:var(--ink);background:#fff}
input[type=checkbox],input[type=radio]{width:18px;height:18px;min-height:0;margin:0 8px 0 0;flex:none;
accent-color:var(--main)}
:focus-visible{outline:3px solid #3370ff;outline-offset:1px}
button{min-height:40px;padding:7px 16px;border:1px solid #8f959e;border-radius:6px;background:#fff;
font:inherit;color:var(--ink);cursor:pointer}
button.main{background:var(--main);border-color:var(--main);color:#fff}
.row{display:flex;flex-wrap:wrap;gap:8px;align-items:center;margin-top:12px}
.row form{display:inline-flex;gap:6px}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:13px}
th,td{text-align:left;padding:7px 8px;border-bottom:1px solid var(--line);vertical-align:top;
white-space:nowrap}
td.wide{white-space:normal;min-width:180px;word-break:break-all}
td button{min-height:32px;padding:3px 9px;font-size:13px}
.pick{display:flex;align-items:center;padding:9px 4px;border-bottom:1px solid var(--line);color:var(--ink);
font-size:15px}
.pick small{color:var(--soft);margin-left:auto;padding-left:10px;text-align:right}
.apps{max-height:320px;overflow:auto;
border:1px solid var(--line);border-radius:6px;padding:0 10px;margin:10px 0}
.bad{color:#b3122f}
.tag{display:inline-block;padding:0 7px;border-radius:9px;background:#eff0f1;font-size:12px}
code{font-size:12px;word-break:break-all}
a{color:#245bdb}
"""


def page(title: str, content: str, *, narrow: bool = False, note: str = "模拟环境，不是抖音开放平台") -> str:
    """A whole HTML page around `content`, which must be escaped already."""
    return (
        '<!doctype html><html lang="zh-CN"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        f"<header><b>抖音沙箱</b><span>{escape(note)}</span></header>"
        f'<main class="{"narrow" if narrow else ""}">{content}</main></body></html>'
    )
