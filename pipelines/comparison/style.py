"""How the page looks: light and dark, wide and narrow."""

STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#626a75;--line:#e4e7ec;--page:#f6f7f9;
--card:#fff;
--a:#7b61c9;--b:#0b7285;--good:#18794e;--bad:#c62a2f;--warn:#8a5300;--mild:#dfe3e9;
--goodwash:#eaf6ef;--badwash:#fdeeee;--warnwash:#fdf3e1}
@media(prefers-color-scheme:dark){:root{--ink:#eceef1;--soft:#a2a9b4;--line:#2d3239;--page:#101214;
--card:#181b1f;--a:#b39cf5;--b:#5cc8d7;--good:#4cc38a;--bad:#ff6b70;--warn:#ffb74d;--mild:#343a43;
--goodwash:#13291f;--badwash:#321719;--warnwash:#30240f}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.55 system-ui,"Noto Sans CJK SC",
sans-serif;overflow-wrap:anywhere}
main{max-width:68rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.65rem;line-height:1.3;margin:0 0 .3rem;letter-spacing:-.015em}
h1 i{font-weight:400;color:var(--soft);font-style:normal}
h2{font-size:1.1rem;margin:2.6rem 0 .8rem}
h2 small{font-weight:400;color:var(--soft);margin-left:.4rem}
p{margin:.3rem 0}.soft{color:var(--soft)}code{font:.87em ui-monospace,monospace}
.key{display:inline-block;min-width:1.45em;padding:0 .3em;border-radius:5px;color:var(--card);
font-weight:700;text-align:center;font-size:.82em;line-height:1.5}.key.a{background:var(--a)}
.key.b{background:var(--b)}
.note{background:var(--warnwash);border-left:4px solid var(--warn);padding:.5rem .8rem;
border-radius:6px}
.verdict{margin:1rem 0 0;padding:.65rem 1rem;border-radius:10px;font-weight:600;
background:var(--card);border:1px solid var(--line);border-left:5px solid var(--warn)}
.verdict.better{border-left-color:var(--good);background:var(--goodwash)}
.verdict.worse{border-left-color:var(--bad);background:var(--badwash)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:.8rem;
margin:1.4rem 0}
.card,article,table,.calibration{background:var(--card);border:1px solid var(--line);
border-radius:10px}
.card{padding:.8rem 1rem}.card span,.card small{display:block;color:var(--soft);font-size:.84rem}
.card b{display:block;font-size:1.5rem;line-height:1.35;letter-spacing:-.01em}
.card.bad b{color:var(--bad)}.card.good b{color:var(--good)}
.share{display:flex;height:.8rem;border-radius:6px;overflow:hidden;gap:2px}
.share i{min-width:2px}.both{background:var(--mild)}.lost{background:var(--bad)}
.won{background:var(--good)}.neither{background:var(--soft)}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;color:var(--soft);font-size:.86rem;
margin-bottom:1rem}
.legend i{display:inline-block;width:.7rem;height:.7rem;border-radius:3px;margin-right:.4rem}
.scroll{overflow-x:auto;margin:.6rem 0}
table{width:100%;border-collapse:separate;border-spacing:0;font-variant-numeric:tabular-nums}
th,td{padding:.42rem .9rem;text-align:left;border-bottom:1px solid var(--line);
vertical-align:middle}
tr:last-child td,tr:last-child th{border-bottom:0}
th{font-size:.82rem;color:var(--soft);font-weight:500}
.numbers td:not(:first-child),.numbers th:not(:first-child){text-align:right;white-space:nowrap;
overflow-wrap:normal}
.numbers td:first-child{min-width:7.5rem}
.changes td:nth-child(2){min-width:11rem}.who{font-size:.9rem}footer{margin-top:2.6rem}
.examples{display:grid;gap:.8rem}.texts{grid-template-columns:repeat(auto-fill,minmax(22rem,1fr))}
.pictures{grid-template-columns:repeat(auto-fill,minmax(15.5rem,1fr))}
article{padding:.85rem 1rem;border-top:4px solid var(--good);background:var(--card)!important;
display:flex;flex-direction:column;gap:.6rem}article.lost{border-top-color:var(--bad)}
.pictures article{flex-direction:row;align-items:center}
article img{width:84px;height:84px;flex:none;image-rendering:pixelated;border-radius:6px;
background:#000}
blockquote{margin:0;flex:1;white-space:pre-wrap;max-height:13rem;overflow:auto}
.said{display:inline-block;margin-right:.9rem}
.said em{font-style:normal;color:var(--soft);font-size:.86em}
.said.wrong{text-decoration:underline;text-decoration-color:var(--bad);text-decoration-thickness:2px;
text-underline-offset:3px}.true{color:var(--soft)}.true b{color:var(--ink)}
article p{margin:.1rem 0}
article code{font-size:.72em;white-space:nowrap}.said .key{text-decoration:none}
.interval{width:10rem;height:1.15rem;vertical-align:middle}
.interval line{stroke:var(--soft);stroke-width:2}
.interval .zero{stroke:var(--line);stroke-width:1.5}.interval circle{fill:var(--soft)}
.interval.good line:not(.zero){stroke:var(--good)}.interval.good circle{fill:var(--good)}
.interval.bad line:not(.zero){stroke:var(--bad)}.interval.bad circle{fill:var(--bad)}
.calibration{display:flex;flex-wrap:wrap;gap:1rem 2rem;align-items:center;padding:1rem}
.calibration>div{flex:1 1 16rem}.reliability{width:19rem;max-width:100%}
.reliability rect{fill:none;stroke:var(--line)}.reliability text{fill:var(--soft);font-size:10px}
.diagonal{stroke:var(--soft);stroke-dasharray:4 4}.reliability polyline{fill:none;stroke-width:2}
.a polyline{stroke:var(--a)}.a circle{fill:var(--a)}.b polyline{stroke:var(--b)}
.b circle{fill:var(--b)}
@media(max-width:40rem){main{padding:1.4rem .9rem 3rem}h1{font-size:1.3rem}
.texts,.pictures{grid-template-columns:1fr}.cards{grid-template-columns:repeat(2,minmax(0,1fr));
gap:.6rem}
.card b{font-size:1.2rem}th,td{padding:.4rem .45rem;font-size:.9em}
.numbers td:first-child{min-width:4.5rem}}
"""
