// Which of Tabler's classes stay whatever the templates use today, so that most changes of a page need no new build.
// What a page names is kept anyway. `drop` leaves out families that a page would keep alive by a common word only.
const tones = '(primary|secondary|success|warning|danger|info|muted|light|dark|body|white|blue|azure|green|yellow|orange|red)';

const spaces = 'd|flex|justify-content|align-items|align-self|order|gap|row-gap|column-gap|g|gx|gy';
const sizes = 'w|h|mw|mh|vh|vw|min-vh|overflow|position|top|bottom|start|end|fw|fs|lh|font|rounded|opacity|shadow|z';
const words = 'float|text|object-fit|space-y|cursor|user-select|sticky|stretched|lead|small|border|vstack|hstack';
const parts =
  'accordion|alert|avatar|badge|breadcrumb|btn|card|col|container|datagrid|divide|empty|form|hr|icon|input|list|list-group|' +
  'nav|page|pagination|placeholder|progress|progressbar|row|spinner|status|status-dot|steps|step|table|tab|timeline';

export const rules = {
  // Elements and attributes, which have no class to judge by.
  elements: [
    /^(html|body|main|nav|header|footer|section|article|aside|dialog|details|summary|form|fieldset|legend|label|input|select|option|optgroup|textarea|button|output|a|p|h[1-6]|b|strong|i|em|small|mark|code|pre|kbd|samp|abbr|address|blockquote|dl|dt|dd|ol|ul|li|hr|img|svg|table|caption|thead|tbody|tfoot|tr|th|td|sub|sup|progress|time)$/,
    /^(data-bs-theme|disabled|readonly|hidden|href|type|role|title|list|tabindex|open)$/, /^:(root|host)/,
  ],
  keep: [
    new RegExp(`^(${parts})(-[a-z0-9-]+)?$`),
    new RegExp(`^(text|bg|border)-${tones}(-lt|-subtle|-fg)?$`),
    new RegExp(`^(${spaces})(-(sm|md|lg))?(-[a-z0-9]+)*$`),
    new RegExp(`^(${sizes}|${words})(-[a-z0-9]+)*$`),
    /^[mp][tbsexy]?(-(md|lg))?-(n?[0-9]|auto)$/,
    /^dropdown-(menu|item|divider|header|item-icon)$/, /^modal(-(title|header|body|footer|content))?$/,
    /^(active|disabled|show|fade|open|h[1-6]|strong|visually-hidden(-focusable)?|required|is-(in)?valid|(in)?valid-feedback|subheader|antialiased)$/,
  ],
  drop: [
    // The shell is our own (console.css): a sidebar that folds, a drawer on a phone, a bar.
    // `grid` is our own name for a table of records.
    /^(grid|g-col|g-start)(-|$)/, /^navbar/, /^(layout|theme)-/, /^(btn-)?(outline|ghost)-(?!primary|secondary|danger)/,
    // Components and variants that need Bootstrap's scripts, or that no page of ours has.
    /^(carousel|offcanvas|popover|tooltip|toast|modal-(fullscreen|blur|full|dialog|static|status|sm|md|lg|xl)|accordion-flush|accordion-(tabs|inverted|plus))/,
    /^(form-(floating|imagecheck|colorinput|selectgroup|range|fieldset|check-highlight)|selectgroup|list-group-(horizontal|flush|transparent)?-?(sm|md|lg|xl|xxl)$)/,
    /^(btn-(animate|square|loading|color|toolbar|pill|floating|x|app|actions|2|3|4|5|6|xl)|card-(gradient|stamp|img|group|cover|rotate|aside|active|progress|sponsor|chart|avatar|stacked|inactive|mobile|link|note|map|status-(?!top|start)))/,
    /^(table-mobile|table-(primary|secondary|success|danger|warning|info|light|dark|active|striped|bordered|borderless|selectable|group|nowrap|center)|markdown|io|text-bg|row-cols|nav-(segmented|bordered|tabs-alt|underline|pills|justified|fill)|steps-(?!vertical|counter)|hr-|status-(indicator|facebook)|avatar-(?!sm|md|list|rounded)|input-icon|input-group-(flat|link)|progress-(steps|separated)|progressbg|pagination-(lg|scrollable)|placeholder-(glow|wave|lg)|datagrid-|timeline-simple|empty-bordered)/,
    /(^|-)(xl|xxl)(-|$)/,
    /^(btn|btn-outline|btn-ghost|bg|text|badge|border|alert|avatar|card|link|status|progress|steps|list-group-item|table|timeline)-(facebook|twitter|linkedin|google|youtube|vimeo|dribbble|github|instagram|pinterest|vk|rss|flickr|bitbucket|tabler|x|indigo|purple|pink|lime|teal|cyan|black|inverted|gray)(-|$)/,
    /^(text|bg|border)-(gray|primary|secondary|opacity|gradient)-?(\d+)/, /^(link|bg|text|border)-opacity/, /^link-(offset|underline)/, /^bg-gradient/,
    /^(order|float|object-fit|fs|space-x|h|w|mh|mw|overflow)-(sm|md|lg)(-|$)/, /^(offset|g|gx|gy|row-gap|column-gap)-(sm|md|lg|xl)/,
    /^(rounded|shadow|border)-(top|bottom|start|end)-\d/, /^z-/, /^(chart|chat|ribbon|star|switch-icon|tracking|kanban|flag|brand|photo|payment|pricing|ts)(-|$)/,
    /^text-(wrap|break|bg|truncate-)$/, /^border-(start|end|top|bottom)-(wide|[1-9])/, /^(m|p)[xytbse]?-(sm|xl)/, /^nav-(item|link)-(toggle|badge)/,
  ],
};
