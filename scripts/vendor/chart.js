// What the console's charts use of Apache ECharts, as one global; other series and parts are added here.
import { BarChart, LineChart, PieChart } from 'echarts/charts';
import { DatasetComponent, GridComponent, LegendComponent, TooltipComponent, AriaComponent } from 'echarts/components';
import { connect, getInstanceByDom, init, registerLocale, use } from 'echarts/core';
import zh from 'echarts/lib/i18n/langZH.js';
import { CanvasRenderer } from 'echarts/renderers';

use([
  AriaComponent, BarChart, CanvasRenderer, DatasetComponent, GridComponent, LegendComponent, LineChart, PieChart,
  TooltipComponent,
]);
registerLocale('ZH', zh);
window.echarts = { connect, getInstanceByDom, init };
